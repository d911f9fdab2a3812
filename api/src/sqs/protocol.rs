//! Which protocol a request speaks, and how its reply is written.

/// How a request is written and how its reply must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0.
    Json,
    /// Form in, XML out.
    Query,
    /// Form in, the same tree in JSON out: a form request that accepts JSON.
    QueryJson,
}

impl Protocol {
    /// Chooses by the headers that tell (SQS API contract, sections 1 and 1.2).
    pub fn detect(x_amz_target: Option<&str>, content_type: Option<&str>, accept: Option<&str>) -> Self {
        let starts = |value: Option<&str>, prefix: &str| {
            let head = value.and_then(|value| value.get(..prefix.len()));
            head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        if x_amz_target.is_some() || starts(content_type, JSON_PREFIX) {
            Self::Json
        } else if starts(accept, PLAIN_JSON) {
            Self::QueryJson
        } else {
            Self::Query
        }
    }

    /// `Content-Type` of replies.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.0",
            Self::Query => "text/xml",
            Self::QueryJson => PLAIN_JSON,
        }
    }
}

const JSON_PREFIX: &str = "application/x-amz-json-";
const PLAIN_JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_or_json_content_type_means_json() {
        for (target, content_type, expected) in [
            (Some("AmazonSQS.SendMessage"), None, Protocol::Json),
            (Some("x"), Some("application/x-www-form-urlencoded"), Protocol::Json),
            (None, Some("application/x-amz-json-1.0"), Protocol::Json),
            (None, Some("Application/X-Amz-Json-1.1; charset=utf-8"), Protocol::Json),
            (None, Some("application/x-www-form-urlencoded"), Protocol::Query),
            (None, Some("application/json"), Protocol::Query),
            (None, None, Protocol::Query),
        ] {
            assert_eq!(Protocol::detect(target, content_type, None), expected);
        }
    }

    #[test]
    fn a_form_that_accepts_json_is_answered_in_json() {
        for (target, accept, expected) in [
            (None, "application/json", Protocol::QueryJson),
            (None, "Application/JSON, */*", Protocol::QueryJson),
            (None, "*/*", Protocol::Query),
            (None, "text/xml, application/json", Protocol::Query),
            (Some("AmazonSQS.SendMessage"), "application/json", Protocol::Json),
        ] {
            assert_eq!(Protocol::detect(target, None, Some(accept)), expected);
        }
    }
}
