//! The fields on hls-cache-json(5), from the descriptions in the JSON Schema: each object has one section, and
//! refers to the sections of the objects that it shares with others.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The three sections that describe the fields.
pub fn fields(schema: &str) -> String {
    let schema: Schema = serde_json::from_str(schema).expect("a JSON Schema");
    let outputs = schema.outputs();
    let (of_commands, shared): (Vec<_>, Vec<_>) =
        schema.objects().partition(|(name, _)| outputs.contains(name));
    let section = |objects: Vec<(&str, &Node)>| -> String {
        objects.into_iter().map(|(_, object)| schema.section(object)).collect()
    };
    let types: String = schema.scalars().map(|(name, node)| scalar(name, node)).collect();
    format!(
        ".SH OUTPUT OF THE COMMANDS\n{}.SH SHARED OBJECTS\n{}.SH TYPES\n{types}",
        section(of_commands),
        section(shared)
    )
}

#[derive(Deserialize)]
struct Schema {
    #[serde(rename = "oneOf")]
    outputs: Vec<Node>,
    #[serde(rename = "$defs")]
    definitions: Ordered<Node>,
}

/// What the page needs of a schema. An object with a title has a section; an object without one only
/// forbids further fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    title: Option<String>,
    description: String,
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: Value,
    #[serde(rename = "const")]
    constant: Value,
    #[serde(rename = "enum")]
    values: Vec<Value>,
    properties: Ordered<Node>,
    required: Vec<String>,
    all_of: Vec<Node>,
    one_of: Vec<Node>,
    items: Option<Box<Node>>,
}

impl Schema {
    fn get(&self, name: &str) -> &Node {
        let found = self.definitions.0.iter().find(|(known, _)| known == name);
        let (_, definition) = found.unwrap_or_else(|| panic!("$defs has no {name}"));
        definition
    }

    /// The objects that commands print, and those whose fields these have.
    fn outputs(&self) -> Vec<&str> {
        let mut outputs: Vec<&str> = self.outputs.iter().filter_map(Node::refers_to).collect();
        let bases: Vec<&str> = outputs.iter().flat_map(|name| self.get(name).bases()).collect();
        outputs.extend(bases);
        outputs
    }

    fn objects(&self) -> impl Iterator<Item = (&str, &Node)> {
        let all = self.definitions.0.iter().map(|(name, node)| (name.as_str(), node));
        all.filter(|(_, node)| node.title.is_some() && node.is_object())
    }

    fn scalars(&self) -> impl Iterator<Item = (&str, &Node)> {
        let all = self.definitions.0.iter().map(|(name, node)| (name.as_str(), node));
        all.filter(|(name, node)| !node.is_object() && !name.ends_with(OR_NULL))
    }

    /// Whether an object has the field from one of its bases, so that its own mention only narrows it.
    fn inherits(&self, object: &Node, field: &str) -> bool {
        object.bases().any(|base| {
            let base = self.get(base);
            base.properties.0.iter().any(|(known, _)| known == field) || self.inherits(base, field)
        })
    }

    fn section(&self, object: &Node) -> String {
        let title = object.title.as_deref().expect("a title");
        let mut section = format!(".SS {title}\n{}", text(&object.description));
        let own = object.properties.0.iter().filter(|(name, _)| !self.inherits(object, name));
        let own: String = own.map(|(name, field)| self.field(object, name, field)).collect();
        let bases: Vec<String> = object
            .bases()
            .map(|base| italic(self.get(base).title.as_deref().expect(base)))
            .collect();
        if !bases.is_empty() {
            let end = if own.is_empty() { "." } else { ", and:" };
            section += &format!("It has the fields of {}{end}\n", bases.join(" and "));
        }
        section + &own
    }

    fn field(&self, object: &Node, name: &str, field: &Node) -> String {
        let kind = self.type_of(field);
        let is_optional = !object.required.iter().any(|required| required == name);
        assert_eq!(field.description.starts_with("Only "), is_optional, "when is {name} absent?");
        let says_when = [object, field].iter().any(|node| node.description.contains("null"));
        assert!(says_when || !kind.ends_with(" or null"), "when is {name} null?");
        assert!(field.properties.0.is_empty(), "{name}: give the object a definition of its own");
        let mut item =
            format!(".TP\n.BR {} \" ({})\"\n{}", escape(name), kind, text(&field.description));
        let subset = field.one_of.iter().map(|node| &node.values).find(|values| !values.is_empty());
        item += &one_of(subset.unwrap_or(&field.values));
        if let Some(items) = &field.items {
            item += &one_of(&items.values);
        }
        item + &meanings(&field.one_of)
    }

    /// The type of a field in words; italic if the page describes it.
    fn type_of(&self, field: &Node) -> String {
        if let Some(items) = &field.items {
            return format!("array of {}", self.type_of(items));
        }
        if let Some(name) = field.refers_to() {
            let (name, or_null) = match name.strip_suffix(OR_NULL) {
                Some(name) => (name, " or null"),
                None => (name, ""),
            };
            return format!("{}{or_null}", italic(&self.title(name)));
        }
        let mut types: Vec<String> = match &field.kind {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).map(Into::into).collect(),
            Value::String(kind) => vec![kind.clone()],
            _ => Vec::new(),
        };
        let constant = Some(&field.constant).filter(|constant| !constant.is_null());
        types.extend(field.values.iter().chain(constant).map(|value| type_of_value(value).into()));
        types.extend(field.one_of.iter().map(|alternative| self.type_of(alternative)));
        assert!(!types.is_empty(), "a field of any type: {}", field.description);
        types.sort_by_key(|name| name == "null");
        types.dedup();
        types.join(" or ")
    }

    /// What the page calls a definition.
    fn title(&self, name: &str) -> String {
        let definition = self.get(name);
        let title = definition.title.clone();
        title.unwrap_or_else(|| match definition.bases().next() {
            Some(base) => self.title(base),
            None => name.to_owned(),
        })
    }
}

/// How the name of a type ends that may be null instead.
const OR_NULL: &str = "_or_null";

impl Node {
    fn refers_to(&self) -> Option<&str> {
        self.reference.as_deref().map(|path| path.strip_prefix("#/$defs/").expect("a definition"))
    }

    /// The definitions whose fields it has too.
    fn bases(&self) -> impl Iterator<Item = &str> {
        self.all_of.iter().filter_map(Self::refers_to)
    }

    fn is_object(&self) -> bool {
        !self.properties.0.is_empty() || !self.all_of.is_empty()
    }
}

fn type_of_value(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => panic!("{value}"),
    }
}

/// `One of a, b or c.`; nothing for no values.
fn one_of(values: &[Value]) -> String {
    let values: Vec<String> =
        values.iter().filter_map(Value::as_str).map(|value| bold(&escape(value))).collect();
    match values.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("One of {} or {last}.\n", others.join(", "))
        }
        _ => String::new(),
    }
}

fn scalar(name: &str, scalar: &Node) -> String {
    let name = scalar.title.as_deref().unwrap_or(name);
    format!(".TP\n.I {name}\n{}{}", text(&scalar.description), meanings(&scalar.one_of))
}

/// A list of values, each with its meaning.
fn meanings(alternatives: &[Node]) -> String {
    let mut list = String::new();
    for node in alternatives {
        if let Some(value) = node.constant.as_str() {
            list += &format!(".TP\n.B {}\n{}", escape(value), text(&node.description));
        }
    }
    if list.is_empty() { list } else { format!(".RS\n{list}.RE\n") }
}

/// A paragraph with one sentence a line, and options in bold.
fn text(description: &str) -> String {
    assert!(description.ends_with('.'), "no sentence: {description:?}");
    let words = description.split(' ').map(|word| {
        let escaped = escape(word);
        match word.trim_end_matches(|c: char| c.is_ascii_punctuation() && c != '-') {
            option if option.starts_with("--") => {
                let option = escape(option);
                bold(&option) + &escaped[option.len()..]
            }
            _ => escaped,
        }
    });
    let paragraph = words.collect::<Vec<_>>().join(" ");
    let lines = paragraph.replace(". ", ".\n");
    lines.lines().map(|line| protect(line) + "\n").collect()
}

/// A line that begins with a dot or a quote would be a request.
fn protect(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn bold(text: &str) -> String {
    format!("\\fB{text}\\fR")
}

fn italic(text: &str) -> String {
    format!("\\fI{text}\\fR")
}

/// A JSON object in the order of the file, in which the page shows it.
struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Members<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}
