//! JSON Patch (RFC 6902) as far as API servers are sent it: `test`, `add`, `replace` and `remove`.

use serde_json::Value;

use super::store::Refusal;

/// Carries `operations` out on `object`, all or none.
pub fn patch(object: &mut Value, operations: &Value) -> Result<(), Refusal> {
    let mut patched = object.clone();
    let bad = || Refusal(400, format!("{operations} is no JSON Patch"));
    for operation in operations.as_array().ok_or_else(bad)? {
        let text = |key: &str| operation[key].as_str().ok_or_else(bad);
        let (op, path) = (text("op")?, text("path")?);
        let refused = || Refusal(422, format!("the server rejected our request: {operation}"));
        let value = || operation.get("value").cloned().ok_or_else(bad);
        match op {
            "test" if patched.pointer(path) == Some(&value()?) => {}
            "replace" => *patched.pointer_mut(path).ok_or_else(refused)? = value()?,
            "add" => add(&mut patched, path, value()?).ok_or_else(refused)?,
            "remove" => remove(&mut patched, path).ok_or_else(refused)?,
            _ => return Err(refused()),
        }
    }
    *object = patched;
    Ok(())
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(fields) => drop(fields.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = last.parse().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<()> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(fields) => fields.remove(&last).map(drop),
        Value::Array(items) => {
            let at: usize = last.parse().ok().filter(|at| *at < items.len())?;
            items.remove(at);
            Some(())
        }
        _ => None,
    }
}

fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}
