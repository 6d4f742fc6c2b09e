//! The JSON Schema that is delivered with the tool, as a validator that shares nothing with the tool.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

/// As it is in the repository.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/hls-cache.schema.json"));
    serde_json::from_str(text).expect("the schema is JSON")
});

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::meta::validate(&SCHEMA).expect("the schema is one");
    jsonschema::draft202012::new(&SCHEMA).expect("the schema can be used")
});

pub fn is_valid(json: &Value) -> bool {
    VALIDATOR.is_valid(json)
}

/// What the schema says against an object; nothing if it allows it.
pub fn faults(json: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for error in VALIDATOR.iter_errors(json) {
        faults.push(error.to_string());
        let ValidationErrorKind::OneOfNotValid { context } = error.kind() else { continue };
        // Of the alternatives, only what that of this command says.
        let is_others = |error: &ValidationError<'_>| error.instance_path().as_str() == "/command";
        for alternative in context.iter().filter(|errors| !errors.iter().any(is_others)) {
            faults.extend(alternative.iter().map(|e| format!("  {}: {e}", e.instance_path())));
        }
    }
    faults
}
