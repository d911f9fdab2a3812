//! The two encodings, written down once more from the contract: rows are JSON, and here they become forms, and XML
//! replies become JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// A JSON request as a form (section 1.2 of the contract).
pub(crate) fn form_of(action: &str, input: &Value) -> String {
    let mut form = format!("Action={action}&Version=2012-11-05");
    members(action, "", input.as_object().unwrap(), &mut form);
    form
}

fn members(action: &str, prefix: &str, input: &Map<String, Value>, form: &mut String) {
    for (name, value) in input {
        match name.as_str() {
            "Attributes" => pairs(&format!("{prefix}Attribute"), "Name", "Value", value, form),
            "tags" | "Tags" => pairs(&format!("{prefix}Tag"), "Key", "Value", value, form),
            "TagKeys" => list(&format!("{prefix}TagKey"), value, form),
            "AttributeNames" => list(&format!("{prefix}AttributeName"), value, form),
            "MessageSystemAttributeNames" => {
                list(&format!("{prefix}MessageSystemAttributeName"), value, form)
            }
            "MessageAttributeNames" => list(&format!("{prefix}MessageAttributeName"), value, form),
            "AWSAccountIds" => list(&format!("{prefix}AWSAccountId"), value, form),
            "Actions" => list(&format!("{prefix}ActionName"), value, form),
            "MessageAttributes" => message_attributes(&format!("{prefix}MessageAttribute"), value, form),
            "MessageSystemAttributes" => {
                message_attributes(&format!("{prefix}MessageSystemAttribute"), value, form);
            }
            "Entries" => {
                for (at, entry) in value.as_array().unwrap().iter().enumerate() {
                    let entry_prefix = format!("{action}RequestEntry.{}.", at + 1);
                    members(action, &entry_prefix, entry.as_object().unwrap(), form);
                }
            }
            _ => push(&format!("{prefix}{name}"), value, form),
        }
    }
}

fn push(name: &str, value: &Value, form: &mut String) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let encoded: String = form_urlencode(&text);
    write!(form, "&{name}={encoded}").unwrap();
}

/// Percent-encodes all but the unreserved characters.
pub(crate) fn form_urlencode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut encoded = String::new();
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

fn list(name: &str, values: &Value, form: &mut String) {
    for (at, value) in values.as_array().unwrap().iter().enumerate() {
        push(&format!("{name}.{}", at + 1), value, form);
    }
}

fn pairs(prefix: &str, key: &str, value_name: &str, pairs: &Value, form: &mut String) {
    for (at, (name, value)) in pairs.as_object().unwrap().iter().enumerate() {
        push(&format!("{prefix}.{}.{key}", at + 1), &json!(name), form);
        push(&format!("{prefix}.{}.{value_name}", at + 1), value, form);
    }
}

fn message_attributes(prefix: &str, attributes: &Value, form: &mut String) {
    for (at, (name, value)) in attributes.as_object().unwrap().iter().enumerate() {
        let prefix = format!("{prefix}.{}", at + 1);
        push(&format!("{prefix}.Name"), &json!(name), form);
        for (field, value) in value.as_object().unwrap() {
            match field.strip_suffix('s') {
                Some(single) if value.is_array() => list(&format!("{prefix}.Value.{single}"), value, form),
                _ => push(&format!("{prefix}.Value.{field}"), value, form),
            }
        }
    }
}

/// An element of a reply.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    /// Reads a whole document.
    pub(crate) fn parse(text: &str) -> Self {
        use quick_xml::events::Event;
        let mut reader = quick_xml::Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().expect("a reply is well-formed XML") {
                Event::Start(start) => open.push(Self::started(&start)),
                Event::Empty(start) => open.last_mut().unwrap().children.push(Self::started(&start)),
                Event::End(_) => {
                    let element = open.pop().unwrap();
                    open.last_mut().unwrap().children.push(element);
                }
                Event::Text(text) => open.last_mut().unwrap().text += &text,
                Event::GeneralRef(name) => {
                    let text = &mut open.last_mut().unwrap().text;
                    match name.resolve_char_ref().unwrap() {
                        Some(character) => text.push(character),
                        None => text.push_str(match &*name {
                            "amp" => "&",
                            "lt" => "<",
                            "gt" => ">",
                            "quot" => "\"",
                            other => panic!("&{other}; is no entity of XML"),
                        }),
                    }
                }
                Event::Eof => break,
                Event::Decl(_) => {}
                other => panic!("a reply has no {other:?}"),
            }
        }
        open.pop().unwrap().children.pop().expect("a reply has a root")
    }

    fn started(start: &quick_xml::events::BytesStart<'_>) -> Self {
        let namespace = start.attributes().flatten().find(|attribute| attribute.key.as_ref() == "xmlns");
        Self {
            name: start.name().as_ref().to_owned(),
            namespace: namespace.map(|attribute| attribute.value.into_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(crate) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

/// The content of a result element as the JSON reply of the action.
pub(crate) fn json_of(action: &str, result: &Element) -> Value {
    let mut object = Map::new();
    for child in &result.children {
        let text = || json!(child.text);
        let (key, value) = match (action, child.name.as_str()) {
            ("ListQueues", "QueueUrl") => ("QueueUrls", Shape::Listed(text())),
            ("ListDeadLetterSourceQueues", "QueueUrl") => ("queueUrls", Shape::Listed(text())),
            (_, "Attribute") => ("Attributes", Shape::Pair(child, "Name", "Value")),
            (_, "Tag") => ("Tags", Shape::Pair(child, "Key", "Value")),
            (_, "MessageAttribute") => ("MessageAttributes", Shape::Pair(child, "Name", "Value")),
            (_, "Message") if action == "ReceiveMessage" => ("Messages", Shape::Listed(json_of("", child))),
            (_, "BatchResultErrorEntry") => ("Failed", Shape::Listed(json_of("", child))),
            (_, entry) if entry == format!("{action}ResultEntry") && action.ends_with("Batch") => {
                ("Successful", Shape::Listed(json_of("", child)))
            }
            ("ListMessageMoveTasks", "ListMessageMoveTasksResultEntry") => {
                ("Results", Shape::Listed(json_of("", child)))
            }
            (_, name) => (name, Shape::Text(text())),
        };
        match value {
            Shape::Text(value) => {
                assert!(object.insert(key.to_owned(), value).is_none(), "{key} stands there twice");
            }
            Shape::Listed(value) => {
                let list = object.entry(key).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().push(value);
            }
            Shape::Pair(pair, name, value) => {
                let map = object.entry(key).or_insert_with(|| json!({}));
                let value = pair.child(value).unwrap();
                let value = if value.children.is_empty() { json!(value.text) } else { json_of("", value) };
                map.as_object_mut().unwrap().insert(pair.text_of(name).to_owned(), value);
            }
        }
    }
    Value::Object(object)
}

enum Shape<'e> {
    Text(Value),
    Listed(Value),
    Pair(&'e Element, &'static str, &'static str),
}
