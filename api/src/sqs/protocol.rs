//! Which of the two protocols a request speaks.

/// How a request is written and how its reply must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0.
    Json,
    /// Form in, XML out.
    Query,
}

impl Protocol {
    /// Chooses by the two headers that tell (SQS API contract, section 1).
    pub fn detect(x_amz_target: Option<&str>, content_type: Option<&str>) -> Self {
        let json_type = content_type.is_some_and(|value| {
            value.get(..JSON_PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(JSON_PREFIX))
        });
        if x_amz_target.is_some() || json_type { Self::Json } else { Self::Query }
    }

    /// `Content-Type` of replies.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.0",
            Self::Query => "text/xml",
        }
    }
}

const JSON_PREFIX: &str = "application/x-amz-json-";

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
            assert_eq!(Protocol::detect(target, content_type), expected);
        }
    }
}
