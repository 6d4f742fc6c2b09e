//! What every command prints with `--json`, in every exit status, is what `packaging/hls-cache.schema.json`
//! says, and the schema lets nothing else pass.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::common::json_schema::{SCHEMA, faults, is_valid};
use crate::common::{Age, Run, Size, TestCache, key, pin_name};

/// What may be missing from an object that has it: what only some option or some bytes bring.
const OPTIONAL: [&str; 15] = [
    "root_hex",
    "path_hex",
    "source_hex",
    "quality_hex",
    "encode_hex",
    "dir",
    "dir_hex",
    "names_hex",
    "histogram",
    "entries",
    "history",
    "rank",
    "protected_by",
    "would_go_for",
    "log",
];

/// An object that was printed, and by what.
struct Sample {
    args: String,
    code: i32,
    json: Value,
}

impl Sample {
    fn command(&self) -> &str {
        self.json["command"].as_str().unwrap_or("key")
    }
}

fn cache() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .sealed("b", 10.kib(), 4.days())
        .partial("p", 10.kib(), 5.days())
        .partial("w", 10.kib(), 1.minutes())
}

/// One whose pin cannot be asked.
fn broken() -> TestCache {
    cache().dir(pin_name("a"))
}

/// One in which everything is that a report can tell of.
fn full() -> TestCache {
    let cache = cache().trash("old").pinned("b");
    let log = cache.event("hit", "a", 1.hours())
        + &cache.event("miss", "a", 1.hours())
        + "1700000000 sweep max_size=5 low_water=90 removed=2 freed=10 left=0 exit=0\nnonsense\n";
    let foreign = OsStr::from_bytes(b"\xff");
    cache.events(&log).file("README", b"").file(foreign, b"")
}

/// One whose entries have names, of bytes that are no text, and a past.
fn named() -> TestCache {
    let source = OsStr::from_bytes(b"film \xff.mkv");
    let quality = OsStr::from_bytes(b"q\xfe");
    let cache = full();
    let media = cache.outside_path("media");
    let cache = cache.file(media.join(source), b"").env("HLS_CACHE_LIBRARY", &media);
    let cache = cache.env("HLS_CACHE_QUALITIES", quality).env("HLS_CACHE_TRACKS", "-1..1");
    let text =
        [media.join(source).as_os_str().as_bytes(), b"|", quality.as_bytes(), b"|0"].concat();
    let key = hex::encode(&Sha256::digest(&text)[..8]);
    std::fs::rename(cache.entry_path("b"), cache.root().join(key)).expect("named");
    let log = format!("1700000000 evict {} 5 6 min-free\n", crate::common::key("a"));
    cache.events(&log)
}

/// Runs every command in every exit status that prints something.
fn samples() -> Vec<Sample> {
    let [a, p, none] = ["a", "p", "none"].map(key);
    let damaged = || cache().without("a", "video/seg-1.m4s");
    let sweep = "sweep --max-size 0 --min-budget 0 --best-effort";
    let limits = "-v sweep -n --max-size 25K --min-budget 0 --low-water 50 --keep-recent 1h \
                  --max-entries 9 --min-free 1 --older-than 90d";
    let key = "key --quality q --audio -1";
    let cases: [(TestCache, &str, i32); 27] = [
        (cache(), "sweep --max-size 1T", 0),
        (cache(), limits, 0),
        (full(), sweep, 3),
        (broken(), sweep, 1),
        (cache(), "gc-orphans", 0),
        (cache(), "-v gc-orphans -n", 0),
        (cache().dir(pin_name("p")), "gc-orphans", 1),
        (cache(), &format!("invalidate {a} {none}"), 0),
        (full(), "invalidate --all", 3),
        (cache().pinned("a"), &format!("invalidate --force {a}"), 0),
        (broken(), &format!("invalidate {a}"), 1),
        (cache(), "verify", 0),
        (damaged(), "verify", 3),
        (damaged(), "verify --fix", 3),
        (damaged().pinned("a"), &format!("verify --fix {none} {p} {a}"), 3),
        (damaged().dir(pin_name("a")), "verify --fix", 1),
        (TestCache::new().real("a").emptied("a", "subs/sub-0.vtt"), "verify --deep", 3),
        (TestCache::new(), "stats", 0),
        (full(), "stats --entries --histogram --max-size 1G", 0),
        (named(), &format!("stats {a} {none}"), 0),
        (named(), "stats --entries", 0),
        (TestCache::new(), "stats --history", 0),
        (full(), "stats --history", 0),
        (broken(), "stats --entries", 1),
        (cache(), &format!("{key} /a /b"), 0),
        (cache(), &format!("{key} --encode x|y --burn -1 --burn 3 --dir /a"), 0),
        // The last source is empty.
        (cache(), &format!("{key} --dir /a "), 1),
    ];
    let mut samples = Vec::new();
    for (cache, args, code) in cases {
        samples.extend(sample(&cache.run(["--json"].into_iter().chain(args.split(' '))), code));
    }

    let cache = cache();
    let nowhere = cache.base().join(OsStr::from_bytes(b"no\xffwhere"));
    for command in ["sweep --max-size 1G", "gc-orphans", "invalidate --all", "verify", "stats"] {
        let args = ["--json", "--root"].map(OsStr::new).into_iter().chain([nowhere.as_os_str()]);
        let run = cache.bare(args.chain(command.split(' ').map(OsStr::new))).run();
        samples.extend(sample(&run, 1));
    }
    let args = ["--json", "key", "--dir", "--root"].map(OsStr::new).into_iter();
    let args =
        args.chain([nowhere.as_os_str(), OsStr::new("--quality"), OsStr::from_bytes(b"\xfe")]);
    let args: Vec<_> = args.chain([nowhere.as_os_str()]).collect();
    samples.extend(sample(&cache.bare(&args).run(), 0));
    let five = [OsStr::new("--encode"), OsStr::from_bytes(b"\xfd")];
    samples.extend(sample(&cache.bare(args.into_iter().chain(five)).run(), 0));
    samples
}

/// The objects of one run.
fn sample(run: &Run<'_>, code: i32) -> Vec<Sample> {
    assert_eq!(run.output.status.code(), Some(code), "{run}");
    let lines: Vec<Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!lines.is_empty(), "{run}");
    let args = format!("{run}").lines().next().unwrap_or_default().to_owned();
    lines.into_iter().map(|json| Sample { args: args.clone(), code, json }).collect()
}

#[test]
fn what_every_command_prints_in_every_exit_status_is_as_the_schema_says() {
    let samples = samples();
    for Sample { args, json, .. } in &samples {
        let faults = faults(json);
        assert!(faults.is_empty(), "{args}\n{json}\n{}", faults.join("\n"));
    }
    let seen: BTreeSet<(&str, i32)> = samples.iter().map(|s| (s.command(), s.code)).collect();
    let every = [
        ("gc-orphans", 0),
        ("gc-orphans", 1),
        ("invalidate", 0),
        ("invalidate", 1),
        ("invalidate", 3),
        ("key", 0),
        ("key", 1),
        ("stats", 0),
        ("stats", 1),
        ("sweep", 0),
        ("sweep", 1),
        ("sweep", 3),
        ("verify", 0),
        ("verify", 1),
        ("verify", 3),
    ];
    assert_eq!(seen, BTreeSet::from(every));
    let mut printed = BTreeSet::new();
    for sample in &samples {
        names_in(&sample.json, &mut printed);
    }
    assert_eq!(printed, documented(&SCHEMA), "a documented field that no run prints");
}

#[test]
fn wrong_usage_and_a_busy_cache_print_no_json() {
    let cache = cache();
    for args in [&["sweep"][..], &["verify", "nokey"], &["stats", "--prometheus"], &["key", "/a"]] {
        cache.run([&["--json"], args].concat()).code(2).no_stdout();
    }
    let _other = cache.other_maintainer();
    for args in [&["sweep", "--max-size", "1G"][..], &["gc-orphans"]] {
        cache.run([&["--json"], args].concat()).code(4).no_stdout();
    }
}

/// A schema that lets anything pass would hold nothing.
#[test]
fn the_schema_refuses_a_changed_type_an_extra_field_and_a_missing_one() {
    let mut tried = 0;
    for Sample { args, json, .. } in samples() {
        assert!(is_valid(&json), "{args}\n{json}");
        let mut paths = Vec::new();
        paths_in(&json, String::new(), &mut paths);
        for path in paths {
            for (what, change) in changes(json.pointer(&path).unwrap()) {
                let mut changed = json.clone();
                *changed.pointer_mut(&path).unwrap() = change;
                assert!(!is_valid(&changed), "{args}\n{path}: {what}\n{changed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

/// What makes a value another that must not pass.
fn changes(value: &Value) -> Vec<(String, Value)> {
    let other_types = match value {
        Value::Null => vec![json!(true), json!({})],
        Value::Bool(_) => vec![json!("true"), json!(null)],
        // A count that is not known is null in some places.
        Value::Number(number) => vec![json!(number.to_string()), json!(0.5)],
        Value::String(_) => vec![json!(7), json!(["text"])],
        Value::Array(_) => vec![json!({}), json!(null), json!([[]])],
        Value::Object(_) => vec![json!([]), json!("text")],
    };
    let mut changes: Vec<_> = other_types.into_iter().map(|new| (new.to_string(), new)).collect();
    let Value::Object(fields) = value else { return changes };
    let mut more = fields.clone();
    more.insert("undocumented".into(), json!(0));
    changes.push(("an extra field".into(), more.into()));
    for name in fields.keys().filter(|name| !OPTIONAL.contains(&name.as_str())) {
        let mut less = fields.clone();
        less.remove(name);
        changes.push((format!("without {name}"), less.into()));
    }
    changes
}

/// The JSON pointers of a value and of everything in it.
fn paths_in(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, inside)| paths_in(inside, format!("{path}/{name}"), paths)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| paths_in(item, format!("{path}/{index}"), paths)),
        _ => {}
    }
    paths.push(path);
}

fn names_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inside) in fields {
                names.insert(name.clone());
                names_in(inside, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names_in(item, names)),
        _ => {}
    }
}

/// The names of all properties of a schema, each of which has a description.
fn documented(schema: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    match schema {
        Value::Object(fields) => {
            for (keyword, inside) in fields {
                if keyword == "properties" {
                    for (name, property) in inside.as_object().unwrap() {
                        let said = property["description"].as_str().unwrap_or_default();
                        assert!(!said.is_empty() && !said.contains('\n'), "{name}: {said:?}");
                        names.insert(name.clone());
                    }
                }
                names.extend(documented(inside));
            }
        }
        Value::Array(items) => names.extend(items.iter().flat_map(documented)),
        _ => {}
    }
    names
}

/// The definitions that a schema refers to with `allOf`.
fn bases(definition: &Value) -> Vec<&str> {
    let all = definition["allOf"].as_array().into_iter().flatten();
    all.map(|base| base["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap()).collect()
}

/// Whether objects of this definition have the field.
fn has(definitions: &Map<String, Value>, name: &str, field: &str) -> bool {
    let definition = &definitions[name];
    definition["properties"].get(field).is_some()
        || bases(definition).iter().any(|base| has(definitions, base, field))
}

/// hls-cache-json(5) has a section for every object, with its fields; those of a base only in the section of the base.
#[test]
fn every_field_of_the_schema_is_on_the_manual_page_exactly_once() {
    let definitions = SCHEMA["$defs"].as_object().unwrap();
    let mut expected = Vec::new();
    for (name, definition) in definitions {
        let fields = definition["properties"].as_object().into_iter().flat_map(Map::keys);
        let mut own: Vec<&String> = fields
            .filter(|field| !bases(definition).iter().any(|base| has(definitions, base, field)))
            .collect();
        // Deeper, only fields are narrowed that the definition has.
        let mut inside = BTreeSet::new();
        for (_, inner) in definition.as_object().unwrap().iter().filter(|(k, _)| *k != "properties")
        {
            inside.extend(documented(inner));
        }
        for property in definition["properties"].as_object().into_iter().flat_map(Map::values) {
            inside.extend(documented(property));
        }
        inside.retain(|field| !has(definitions, name, field));
        assert_eq!(inside, BTreeSet::new(), "{name}: fields without a section");
        match definition["title"].as_str() {
            Some(title) => expected.extend(own.drain(..).map(|field| format!("{title}: {field}"))),
            None => assert_eq!(own, [""; 0], "{name} has fields, and no title"),
        }
    }

    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/man/hls-cache-json.5"));
    let (mut section, mut described) = ("", Vec::new());
    for line in page.lines() {
        section = line.strip_prefix(".SS ").unwrap_or(section);
        if let Some((field, _)) =
            line.strip_prefix(".BR ").and_then(|line| line.split_once(" \" ("))
        {
            described.push(format!("{section}: {}", field.replace("\\-", "-")));
        }
    }
    expected.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, expected);
    assert!(described.len() > 100, "{described:?}");
}
