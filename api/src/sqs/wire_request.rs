//! From the parts of an HTTP request to a typed request.

use crate::error::{ErrorCode, ErrorReply};
use crate::form::Form;

use super::{Action, Protocol, Request};

mod from_form;
mod from_json;
mod members;

/// Prefix of `X-Amz-Target`.
const TARGET_PREFIX: &str = "AmazonSQS.";

/// What of an HTTP request decides its meaning.
#[derive(Debug, Clone, Copy)]
pub struct WireRequest<'a> {
    /// As [`Protocol::detect`] chose.
    pub protocol: Protocol,
    /// HTTP method.
    pub method: &'a str,
    /// Path of the target, without the query string.
    pub path: &'a str,
    /// Query string, undecoded, without the question mark.
    pub query: &'a str,
    /// `X-Amz-Target`.
    pub target: Option<&'a str>,
    /// Whole body.
    pub body: &'a [u8],
}

/// Which action is asked for; nothing else is looked at, so that the signature can be checked next.
pub fn find_action(wire: &WireRequest<'_>) -> Result<Action, ErrorReply> {
    match wire.protocol {
        Protocol::Json => action_of_target(wire.target),
        Protocol::Query | Protocol::QueryJson => action_of_form(wire, &form_of(wire)?),
    }
}

/// Reads the whole request: action, shapes and required parameters.
pub fn parse<'a>(wire: &WireRequest<'a>) -> Result<Request<'a>, ErrorReply> {
    match wire.protocol {
        Protocol::Json => {
            let action = action_of_target(wire.target)?;
            from_json::read(action, wire.body)?.into_request(action)
        }
        Protocol::Query | Protocol::QueryJson => {
            let form = form_of(wire)?;
            let action = action_of_form(wire, &form)?;
            let mut members = from_form::read(action, form)?;
            // The parameter wins over the path, as recorded.
            if members.queue_url.is_none() && is_queue_path(wire.path) {
                members.queue_url = Some(wire.path.into());
            }
            members.into_request(action)
        }
    }
}

fn form_of<'a>(wire: &WireRequest<'a>) -> Result<Form<'a>, ErrorReply> {
    Form::parse(&[wire.query.as_bytes(), wire.body])
        .map_err(|error| ErrorReply::new(ErrorCode::MalformedInput, error.to_string()))
}

fn action_of_target(target: Option<&str>) -> Result<Action, ErrorReply> {
    let target = target.unwrap_or_default();
    let name = target.strip_prefix(TARGET_PREFIX);
    name.and_then(Action::by_name).ok_or_else(|| invalid_action(name.unwrap_or(target)))
}

fn action_of_form(wire: &WireRequest<'_>, form: &Form<'_>) -> Result<Action, ErrorReply> {
    let on_queue = is_queue_path(wire.path);
    let Some(name) = form.get("Action").filter(|name| !name.is_empty()) else {
        return Err(if on_queue && wire.method == "GET" {
            ErrorReply::new(ErrorCode::UnknownOperation, "")
        } else {
            ErrorReply::new(ErrorCode::MissingAction, "The request must contain the parameter Action.")
        });
    };
    match Action::by_name(name) {
        Some(Action::CreateQueue | Action::ListQueues) if on_queue => Err(invalid_action(name)),
        Some(action) => Ok(action),
        None => Err(invalid_action(name)),
    }
}

fn is_queue_path(path: &str) -> bool {
    !matches!(path, "" | "/")
}

fn invalid_action(name: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::InvalidAction, format!("The action {name} is not valid for this endpoint."))
}

#[cfg(test)]
mod tests;
