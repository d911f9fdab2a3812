//! The settings file as text with positions: which line a key stands in, which key a position lies under.

use toml::de::{DeTable, DeValue};

/// A parsed settings file that remembers where everything stands.
pub(crate) struct Document<'a> {
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Parses `text` as TOML; knows nothing of keys.
    pub(crate) fn parse(text: &'a str) -> Result<Self, toml::de::Error> {
        Ok(Self { text, root: DeTable::parse(text)?.into_inner() })
    }

    /// Line (from 1) of `key` (as `limits.connections` or `account[0].user[1].name`), or of the nearest part
    /// above it that is there; `None` when not even its first part is.
    pub(crate) fn line_of(&self, key: &str) -> Option<usize> {
        let mut table = &self.root;
        let mut at = None;
        for part in key.split('.') {
            let (name, indexes) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
            let Some((found, value)) = table.iter().find(|(found, _)| found.as_ref().as_ref() == name) else {
                break;
            };
            at = Some(found.span().start);
            let mut value = value;
            for index in
                indexes.split('[').filter_map(|index| index.trim_end_matches(']').parse::<usize>().ok())
            {
                match value.as_ref() {
                    DeValue::Array(array) if index < array.len() => {
                        value = &array[index];
                        at = Some(value.span().start);
                    }
                    _ => break,
                }
            }
            match value.as_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        at.map(|offset| position(self.text, offset).0)
    }

    /// The keys that are set: `limits.connections`, and a list as one.
    pub(crate) fn keys(&self) -> Vec<String> {
        fn walk(table: &DeTable<'_>, above: &str, keys: &mut Vec<String>) {
            for (name, value) in table.iter() {
                let key = join(above, name.as_ref().as_ref());
                match value.as_ref() {
                    DeValue::Table(inner) => walk(inner, &key, keys),
                    _ => keys.push(key),
                }
            }
        }
        let mut keys = Vec::new();
        walk(&self.root, "", &mut keys);
        keys
    }

    /// The key under which byte `offset` lies; empty when under none.
    pub(crate) fn key_at(&self, offset: usize) -> String {
        fn walk(table: &DeTable<'_>, above: &str, offset: usize) -> Option<String> {
            table.iter().find_map(|(name, value)| {
                let key = join(above, name.as_ref().as_ref());
                let here = name.span().contains(&offset) || value.span().contains(&offset);
                inside(value.as_ref(), &key, offset).or_else(|| here.then_some(key))
            })
        }
        fn inside(value: &DeValue<'_>, key: &str, offset: usize) -> Option<String> {
            match value {
                DeValue::Table(inner) => walk(inner, key, offset),
                DeValue::Array(array) => array.iter().enumerate().find_map(|(index, value)| {
                    let key = format!("{key}[{index}]");
                    inside(value.as_ref(), &key, offset)
                        .or_else(|| value.span().contains(&offset).then_some(key))
                }),
                _ => None,
            }
        }
        walk(&self.root, "", offset).unwrap_or_default()
    }
}

/// `above.name`, or `name` at the root.
pub(crate) fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

/// Line and column (both from 1, columns in characters) of byte `offset` of `text`.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data_dir = \"x\"\n[limits]\nconnections = 1\n[[account]]\nid = \"1\"\n  [[account.user]]\n  name = \"a\"\n";

    #[test]
    fn a_key_is_found_by_its_path_and_back() {
        let document = Document::parse(TEXT).unwrap();
        assert_eq!(document.line_of("limits.connections"), Some(3));
        assert_eq!(document.line_of("account[0].user[0].name"), Some(7));
        assert_eq!(document.line_of("account[0].role[0].name"), Some(4));
        assert_eq!(document.line_of("storage.io"), None);
        assert_eq!(document.key_at(TEXT.find("= 1").unwrap() + 2), "limits.connections");
        assert_eq!(document.key_at(TEXT.find("\"a\"").unwrap()), "account[0].user[0].name");
    }

    #[test]
    fn a_list_of_tables_counts_as_one_key() {
        assert_eq!(Document::parse(TEXT).unwrap().keys(), ["account", "data_dir", "limits.connections"]);
    }

    #[test]
    fn positions_count_lines_and_characters() {
        assert_eq!(position("äb\ncd", 2), (1, 2));
        assert_eq!(position("äb\ncd", 5), (2, 2));
        assert_eq!(position("a", 99), (1, 2));
    }
}
