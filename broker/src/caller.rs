//! Who makes a request, as established from its signature.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use sealq_api::iam::Policy;
use serde::{Deserialize, Serialize};

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

/// A tag of a role session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTag {
    /// `aws:PrincipalTag/<name>`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The sessions that this session assumes have it too.
    pub transitive: bool,
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
    /// Tags that the session was given.
    pub session_tags: Arc<[SessionTag]>,
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
    /// Referer header.
    pub referer: Option<Arc<str>>,
    /// Id of the request.
    pub request_id: Arc<str>,
}

/// Made once: every request starts with it.
static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| Caller {
    kind: CallerKind::Anonymous,
    account: Arc::default(),
    arn: "anonymous".into(),
    unique_id: "anonymous".into(),
    cache_identity: Arc::default(),
    name: Arc::default(),
    identity_policies: Arc::default(),
    session_policies: Arc::default(),
    session_tags: Arc::default(),
    boundary: None,
    access_key_id: Arc::default(),
    token_issued_at_s: None,
    source_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    secure_transport: false,
    user_agent: Arc::default(),
    referer: None,
    request_id: Arc::default(),
});

impl Caller {
    /// Nobody, who asked nothing yet.
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// The same caller with what is known of `request`.
    pub fn of_request(&self, request: Self) -> Self {
        Self {
            source_ip: request.source_ip,
            secure_transport: request.secure_transport,
            user_agent: request.user_agent,
            referer: request.referer,
            request_id: request.request_id,
            ..self.clone()
        }
    }

    /// Unique id of the user, role or root itself, without a session's name.
    pub fn principal_id(&self) -> &str {
        self.unique_id.split(':').next().unwrap_or(&self.unique_id)
    }

    /// True when nobody signed.
    pub fn is_anonymous(&self) -> bool {
        self.kind == CallerKind::Anonymous
    }
}
