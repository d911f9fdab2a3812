//! Who makes a request, as established from its signature.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealq_api::iam::Policy;

/// What kind of principal it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerKind {
    /// An account root.
    Root,
    /// An IAM user.
    User,
    /// A session of a role.
    RoleSession {
        /// ARN of the role.
        role_arn: Arc<str>,
        /// Got by a service principal through AssumeRole (sse.md, section 11: not on FIFO queues).
        of_service: bool,
    },
    /// A service principal, and what it acts for.
    Service {
        /// `aws:SourceArn`.
        source_arn: Arc<str>,
        /// `aws:SourceAccount`.
        source_account: Arc<str>,
    },
    /// Nobody: the request was not signed.
    Anonymous,
}

/// The caller of one request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Kind of principal.
    pub kind: CallerKind,
    /// 12 digits; empty for anonymous callers and services.
    pub account: Arc<str>,
    /// ARN as policies and texts name it (a role session's own ARN); the service name for a service.
    pub arn: Arc<str>,
    /// `AIDA…`, `AROA…:session`, the account id for a root: SenderId and `aws:userid`.
    pub unique_id: Arc<str>,
    /// Who shares a data key with whom (one user, one role with one session policy, one account root).
    pub cache_identity: Arc<str>,
    /// User name, or role session name.
    pub name: Arc<str>,
    /// Policies of the identity.
    pub identity_policies: Arc<[Arc<Policy>]>,
    /// Session policies, if the session was given any.
    pub session_policies: Arc<[Arc<Policy>]>,
    /// Permissions boundary.
    pub boundary: Option<Arc<Policy>>,
    /// The key that signed; empty for anonymous callers.
    pub access_key_id: Arc<str>,
    /// When the session's credentials were issued, seconds since 1970.
    pub token_issued_at_s: Option<u64>,
    /// Where the request came from.
    pub source_ip: IpAddr,
    /// It came over TLS.
    pub secure_transport: bool,
    /// User-Agent header.
    pub user_agent: Arc<str>,
    /// Id of the request.
    pub request_id: Arc<str>,
}

impl Caller {
    /// Nobody, who asked nothing yet.
    pub fn anonymous() -> Self {
        Self {
            kind: CallerKind::Anonymous,
            account: "".into(),
            arn: "anonymous".into(),
            unique_id: "anonymous".into(),
            cache_identity: "".into(),
            name: "".into(),
            identity_policies: Arc::new([]),
            session_policies: Arc::new([]),
            boundary: None,
            access_key_id: "".into(),
            token_issued_at_s: None,
            source_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            secure_transport: false,
            user_agent: "".into(),
            request_id: "".into(),
        }
    }

    /// The same caller with what is known of `request`.
    pub fn of_request(&self, request: Self) -> Self {
        Self {
            source_ip: request.source_ip,
            secure_transport: request.secure_transport,
            user_agent: request.user_agent,
            request_id: request.request_id,
            ..self.clone()
        }
    }

    /// True when nobody signed.
    pub fn is_anonymous(&self) -> bool {
        self.kind == CallerKind::Anonymous
    }
}
