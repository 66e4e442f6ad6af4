//! Label selectors: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b, c)` and `a notin (b, c)`.

use serde_json::Value;

/// Whether `selector` chooses an object with these labels.
pub fn is_selected(selector: &str, labels: &Value) -> bool {
    requirements(selector).iter().all(|requirement| holds(requirement.trim(), labels))
}

/// Parts between commas that are not in brackets.
fn requirements(selector: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut depth = 0;
    for c in selector.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            all.push(String::new());
        } else {
            all.last_mut().expect("one at least").push(c);
        }
    }
    all.retain(|one| !one.trim().is_empty());
    all
}

fn holds(requirement: &str, labels: &Value) -> bool {
    let value = |label: &str| labels.get(label.trim()).and_then(Value::as_str);
    let is_one_of = |label: &str, list: &str| {
        let list = list.trim().trim_start_matches('(').trim_end_matches(')');
        value(label).is_some_and(|value| list.split(',').any(|one| one.trim() == value))
    };
    if let Some((label, list)) = requirement.split_once(" notin ") {
        !is_one_of(label, list)
    } else if let Some((label, list)) = requirement.split_once(" in ") {
        is_one_of(label, list)
    } else if let Some((label, wanted)) = requirement.split_once("!=") {
        value(label) != Some(wanted.trim())
    } else if let Some((label, wanted)) = requirement.split_once('=') {
        value(label) == Some(wanted.trim_start_matches('=').trim())
    } else if let Some(label) = requirement.strip_prefix('!') {
        value(label).is_none()
    } else {
        value(requirement).is_some()
    }
}
