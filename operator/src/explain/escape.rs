//! Text that others wrote, made harmless for a terminal: labels of a store and messages of a program may hold anything.

/// `text` with what a terminal would obey written as `\u{…}`.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        match is_obeyed(character) {
            true => safe.extend(character.escape_unicode()),
            false => safe.push(character),
        }
        safe
    })
}

/// JSON with what a terminal would obey written as JSON does it; newlines between its parts stay.
pub fn escaped_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut safe, character| {
        match is_obeyed(character) && character != '\n' {
            true => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            }
            false => safe.push(character),
        }
        safe
    })
}

// Control characters, and those that turn the direction of text or take no room: with them a name shows as another.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out_and_all_else_stays() {
        assert_eq!(escaped("a\u{1b}[2Jb"), r"a\u{1b}[2Jb");
        assert_eq!(escaped("a\u{9b}\nb\u{202e}"), r"a\u{9b}\u{a}b\u{202e}");
        assert_eq!(escaped("{store=\"größe\"}"), "{store=\"größe\"}");
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({"a": "x\u{9b}\u{7f}\u{e0041}\n", "b": ["\u{1b}"]});
        let text = escaped_json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(
            text.chars()
                .all(|character| character == '\n' || character.is_ascii_graphic() || character == ' ')
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
