//! How long what is told may be.

use serde_json::{Map, Value, json};

/// The most bytes of a result or of a line of the log. What Lambda sends to a destination is dropped
/// above 256 KB (Lambda quotas, "asynchronous" payload), and who reads more?
pub(super) const MOST: usize = 32 * 1024;

/// A result that is not longer than it may be. Of its longest lists the last entries are left out, and
/// counted in `cut`.
pub(super) fn fit(mut value: Value) -> Value {
    let mut size = length(&value);
    if size <= MOST {
        return value;
    }
    let Some(fields) = value.as_object_mut() else { return value };
    // Room for the counts.
    size += fields.len() * 32;
    let mut cut = Map::new();
    let mut lists: Vec<(&String, &mut Vec<Value>, Vec<usize>, usize)> = fields
        .iter_mut()
        .filter_map(|(name, value)| {
            let list = value.as_array_mut()?;
            let lengths: Vec<usize> = list.iter().map(|item| length(item) + 1).collect();
            let sum = lengths.iter().sum();
            Some((name, list, lengths, sum))
        })
        .collect();
    while size > MOST {
        let longest =
            lists.iter_mut().filter(|(_, list, ..)| !list.is_empty()).max_by_key(|it| it.3);
        let Some((name, list, lengths, sum)) = longest else { break };
        list.pop();
        let length = lengths.pop().unwrap_or_default();
        *sum -= length;
        size -= length;
        let count = cut.get(*name).and_then(Value::as_u64).unwrap_or_default();
        cut.insert((*name).clone(), json!(count + 1));
    }
    fields.insert("cut".to_owned(), Value::Object(cut));
    value
}

fn length(value: &Value) -> usize {
    value.to_string().len()
}

/// Sentences, as many as fit into an error's message; the others are counted.
pub(super) fn sentences(all: &[String]) -> String {
    /// The most bytes.
    const MOST: usize = 8 * 1024;
    let mut text = String::new();
    for (n, sentence) in all.iter().enumerate() {
        if !text.is_empty() && text.len() + sentence.len() > MOST {
            return format!("{text}; and {} more", all.len() - n);
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(sentence);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_never_gets_too_long_and_what_is_cut_is_counted() {
        for (environments, warnings, size) in
            [(3, 3, 10), (300, 5, 1000), (5, 300, 900), (1, 1, 40_000)]
        {
            let list = |count: usize| vec![json!({"message": "x".repeat(size)}); count];
            let whole = json!({
                "lookedAt": 300, "environments": list(environments), "warnings": list(warnings),
            });
            let fitted = fit(whole.clone());
            assert!(length(&fitted) <= MOST, "{}", length(&fitted));
            for (name, count) in [("environments", environments), ("warnings", warnings)] {
                let left = fitted[name].as_array().unwrap().len();
                let cut = fitted["cut"][name].as_u64().unwrap_or_default();
                assert_eq!(left + usize::try_from(cut).unwrap(), count, "{name}");
            }
            assert_eq!(fitted["lookedAt"], json!(300));
            assert_eq!(fitted == whole, length(&whole) <= MOST);
        }
    }

    #[test]
    fn an_error_says_how_many_sentences_were_left_out() {
        let many: Vec<String> =
            (0..1000).map(|n| format!("{n} failed {}", "x".repeat(100))).collect();
        let text = sentences(&many);
        assert!(text.len() < 9 * 1024 && text.starts_with("0 failed"));
        let shown = text.matches(" failed ").count();
        assert!(text.ends_with(&format!("; and {} more", 1000 - shown)));
        assert_eq!(sentences(&many[..2]), format!("{}; {}", many[0], many[1]));
    }
}
