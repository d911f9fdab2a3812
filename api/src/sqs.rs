//! The SQS API: typed requests and replies of all actions in both protocols.
//!
//! Shapes and required parameters are refused while parsing; what needs the queue's settings is checked afterwards
//! by the request's own `check`, so that authorisation can stand between the two (SQS API contract, 3.3).

mod action;
pub mod attributes;
pub mod batch;
pub mod clear_section;
pub mod message;
pub mod message_attribute;
pub mod move_task;
pub mod page;
pub mod permission;
pub mod protocol;
pub mod queue_url;
pub mod receive;
pub mod request;
pub mod response;
pub mod system_attribute;
pub mod tags;
mod wire_request;

pub use action::Action;
pub use protocol::Protocol;
pub use request::Request;
pub use response::Response;
pub use wire_request::{WireRequest, find_action, parse};
