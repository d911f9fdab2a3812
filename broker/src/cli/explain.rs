//! `sealq explain`: how the broker would decide a request, and by which statements. Reads only; changes nothing.
//!
//! It asks the code that decides for the broker, with the users and roles of the settings and the queue as it is stored.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use clap::Args;
use sealq_api::arn::QueueArn;
use sealq_api::iam::Decision;
use sealq_api::sqs::Action;
use sealq_config::{Config, Secret};
use sealq_storage::offline::{ScanError, ScannedMessage, Visitor, scan};
use thiserror::Error;

use super::{Exit, Sources, data, say_error, settings};
use crate::authorize::{Authorizer, check_transport};
use crate::caller::{Caller, CallerKind};
use crate::catalog::{CatalogError, QueueRecord, decode};
use crate::clock::Clock;
use crate::daemon::UNIQUE_IDS_KEY;
use crate::identity::{Identities, IdentityError, UniqueIds};
use crate::queues::{Queue, is_encrypted};

/// Session name where a role is given without one.
const SESSION_NAME: &str = "session";

/// The request to decide.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Who asks: ARN of a user, role, role session or root; the name of a service; `*` for an unsigned request.
    #[arg(long, value_name = "ARN")]
    principal: String,
    /// What is asked: `sqs:SendMessage`.
    #[arg(long, value_name = "A")]
    action: String,
    /// ARN of the queue it is asked of.
    #[arg(long, value_name = "ARN")]
    resource: String,
    /// Address that the request comes from, for policies that ask. It is taken to come over HTTPS.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    source_ip: IpAddr,
}

/// The request cannot be decided.
#[derive(Debug, Error)]
enum ExplainError {
    #[error(
        "the settings know no principal {0}: give the ARN of an [[account]] user, role or root, or a [[service]]"
    )]
    Principal(String),
    #[error(
        "{0} is no action of a queue: give one like sqs:SendMessage (key policies: aws kms get-key-policy)"
    )]
    Action(String),
    #[error("{0} is no ARN of a queue: give one like arn:aws:sqs:us-east-1:000000000000:orders")]
    Resource(String),
    #[error(
        "there is no queue {arn} in {data_dir}, and only its policy could admit another account: create it first, or \
         name the broker's directory with --data-dir"
    )]
    NoQueue { arn: String, data_dir: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{0}: run `sealq verify`")]
    Catalog(#[from] CatalogError),
    #[error("{data_dir}: {source}: run this as the broker's user, or see `sealq verify`")]
    Scan { data_dir: String, source: ScanError },
}

impl ExplainError {
    fn exit(&self) -> Exit {
        match self {
            Self::Scan { .. } => Exit::Failed,
            Self::Catalog(_) => Exit::Data,
            _ => Exit::Settings,
        }
    }
}

/// Runs it.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    match decide(&config, arguments, Clock::system()) {
        Ok(answer) => {
            let printed = data(&answer.text(arguments));
            if printed == Exit::Done && !answer.allowed { Exit::Denied } else { printed }
        }
        Err(error) => {
            say_error(&error);
            error.exit()
        }
    }
}

struct Answer {
    allowed: bool,
    /// Why it is denied.
    reason: Option<String>,
    because: Vec<String>,
    /// The queue is not there.
    without_queue: bool,
}

impl Answer {
    fn of(decision: Decision, action: Action) -> Self {
        Self {
            allowed: decision.is_allowed(),
            reason: decision.denial.map(|reason| reason.tail(action.iam_action())),
            because: decision.because,
            without_queue: false,
        }
    }

    fn text(&self, arguments: &Arguments) -> String {
        let Arguments { principal, action, resource, .. } = arguments;
        let mut text = format!(
            "{}: {principal} {action} on {resource}\n",
            if self.allowed { "allowed" } else { "denied" }
        );
        if let Some(reason) = &self.reason {
            text += &format!("  {reason}\n");
        }
        for statement in &self.because {
            text += &format!("  by: {statement}\n");
        }
        if self.without_queue {
            text += "  there is no such queue: only the caller's own policies were asked\n";
        }
        text
    }
}

fn decide(config: &Config, arguments: &Arguments, clock: Clock) -> Result<Answer, ExplainError> {
    let action = action(&arguments.action)?;
    let arn = match QueueArn::parse(&arguments.resource) {
        Ok(arn) => Some(arn),
        Err(_) if action == Action::ListQueues => None,
        Err(_) => return Err(ExplainError::Resource(arguments.resource.clone())),
    };
    let mut stored = Stored { arn: arn.as_ref(), record: None, ids: UniqueIds::new(), failed: None };
    match scan(&config.data_dir, &mut stored) {
        Ok(_) | Err(ScanError::Stopped) => {}
        // Never started here: there are no queues yet.
        Err(ScanError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(ExplainError::Scan { data_dir: config.data_dir.display().to_string(), source });
        }
    }
    if let Some(error) = stored.failed {
        return Err(error.into());
    }
    let (record, mut ids) = (stored.record, stored.ids);
    // Nothing is signed here: the root's access key has no part in it.
    let identities = Identities::build(config, ("", Secret::default()), &mut ids)?;
    let caller = caller(config, &identities, arguments)
        .ok_or_else(|| ExplainError::Principal(arguments.principal.clone()))?;
    let authorizer = Authorizer::new(clock, &config.identity.region);
    let of_account = matches!(action, Action::CreateQueue | Action::ListQueues);
    if let Some(record) = record.filter(|_| !of_account) {
        let queue = Queue::new(record, &config.identity.partition, Arc::default());
        if let Err(refusal) = check_transport(&caller, is_encrypted(&queue.record.settings)) {
            let reason = Some(refusal.message.to_string());
            return Ok(Answer { allowed: false, reason, because: Vec::new(), without_queue: false });
        }
        return Ok(Answer::of(authorizer.decide_queue(&caller, action, &queue), action));
    }
    if arn.is_some_and(|arn| arn.account != *caller.account) {
        return Err(ExplainError::NoQueue {
            arn: arguments.resource.clone(),
            data_dir: config.data_dir.display().to_string(),
        });
    }
    let decision = authorizer.decide_account(&caller, action, &arguments.resource);
    Ok(Answer { without_queue: !of_account, ..Answer::of(decision, action) })
}

/// The action of an IAM name (`sqs:SendMessage`, any case) or an API name.
fn action(text: &str) -> Result<Action, ExplainError> {
    let name = match text.split_once(':') {
        Some((service, name)) if service.eq_ignore_ascii_case("sqs") => name,
        Some(_) => "",
        None => text,
    };
    let found = Action::ALL.into_iter().find(|action| action.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| ExplainError::Action(text.to_owned()))
}

/// What the catalog holds of the matter.
struct Stored<'a> {
    arn: Option<&'a QueueArn>,
    record: Option<QueueRecord>,
    ids: UniqueIds,
    failed: Option<CatalogError>,
}

impl Stored<'_> {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        if key == UNIQUE_IDS_KEY {
            self.ids = decode::<BTreeMap<_, _>>(key, value)?;
        }
        let Some(arn) = self.arn.filter(|arn| key == QueueRecord::key(&arn.account, &arn.name)) else {
            return Ok(());
        };
        if let Some(record) = QueueRecord::decode(key, value).transpose()?
            && record.region == arn.region
        {
            self.record = Some(record);
        }
        Ok(())
    }
}

impl Visitor for Stored<'_> {
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.failed = self.take(key, value).err();
        self.failed.is_none()
    }

    fn message(&mut self, _: ScannedMessage<'_>) -> bool {
        false
    }
}

/// The caller as its signature would establish it.
fn caller(config: &Config, identities: &Identities, arguments: &Arguments) -> Option<Caller> {
    let arn = arguments.principal.as_str();
    let signed = Caller {
        kind: CallerKind::Anonymous,
        account: "".into(),
        arn: "".into(),
        unique_id: "".into(),
        cache_identity: "".into(),
        name: "".into(),
        identity_policies: Arc::new([]),
        session_policies: Arc::new([]),
        boundary: None,
        access_key_id: "explain".into(),
        token_issued_at_s: None,
        source_ip: arguments.source_ip,
        secure_transport: true,
        user_agent: "".into(),
        request_id: "".into(),
    };
    if arn == "*" {
        return Some(Caller { access_key_id: "".into(), ..signed });
    }
    if let Some(principal) = identities.principal(arn) {
        return Some(Caller {
            kind: principal.kind.clone(),
            account: principal.account.clone(),
            arn: principal.arn.clone(),
            unique_id: principal.unique_id.clone(),
            name: principal.name.clone(),
            identity_policies: principal.policies.clone(),
            boundary: principal.boundary.clone(),
            ..signed
        });
    }
    if let Some(service) = config.service.iter().find(|service| service.principal == arn) {
        let kind = CallerKind::Service {
            source_arn: service.source_arn.as_str().into(),
            source_account: service.source_account.as_str().into(),
        };
        return Some(Caller { kind, arn: arn.into(), unique_id: arn.into(), name: arn.into(), ..signed });
    }
    let (role_arn, session) = role_session(arn);
    let role = identities.role(&role_arn)?;
    let partition = &config.identity.partition;
    Some(Caller {
        kind: CallerKind::RoleSession { role_arn: role.arn.clone(), of_service: false },
        account: role.account.clone(),
        arn: format!("arn:{partition}:sts::{}:assumed-role/{}/{session}", role.account, role.name).into(),
        unique_id: format!("{}:{session}", role.unique_id).into(),
        name: session.into(),
        identity_policies: role.policies.clone(),
        boundary: role.boundary.clone(),
        ..signed
    })
}

/// The role's ARN and the session's name in the ARN of a role or of a session of it.
fn role_session(arn: &str) -> (String, &str) {
    if let Some((head, rest)) = arn.split_once(":assumed-role/")
        && let Some((role, session)) = rest.rsplit_once('/')
    {
        return (format!("{}:role/{role}", head.replacen(":sts:", ":iam:", 1)), session);
    }
    (arn.to_owned(), SESSION_NAME)
}

#[cfg(test)]
mod tests {
    use sealq_storage::{IoChoice, Log, LogOptions};

    use super::*;
    use crate::catalog::encode;

    const ORDERS: &str = "arn:aws:sqs:us-east-1:000000000000:orders";

    fn config(folder: &std::path::Path) -> Config {
        let text = format!(
            r#"
            data_dir = "{}"
            [[account]]
            id = "000000000000"
            [[account.user]]
            name = "alice"
            policy = '{{"Version": "2012-10-17", "Statement": {{"Sid": "All", "Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}}}'
            [[account.user]]
            name = "nobody"
            [[account]]
            id = "111111111111"
            [[account.role]]
            name = "worker"
            trust_policy = '{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Principal": {{"AWS": "*"}}, "Action": "sts:AssumeRole"}}}}'
            policy = '{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}}}'
            "#,
            folder.display()
        );
        let file = folder.join("sealq.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), std::iter::empty(), sealq_config::Overrides::default()).unwrap().config
    }

    fn ask(config: &Config, principal: &str, action: &str, resource: &str) -> Result<Answer, ExplainError> {
        let arguments = Arguments {
            principal: principal.to_owned(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            source_ip: Ipv4Addr::LOCALHOST.into(),
        };
        decide(config, &arguments, Clock::system())
    }

    fn store_queue(folder: &std::path::Path, policy: &str) {
        let options = LogOptions {
            dir: folder.to_owned(),
            segment_bytes: 4 << 20,
            io: IoChoice::Threads,
            free_space_min_bytes: 0,
            tail_cache_bytes: 1 << 20,
            shard: 0,
        };
        let mut settings = sealq_api::sqs::attributes::QueueSettings::new(false, false);
        settings.policy = Some(policy.to_owned());
        let record = QueueRecord {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            name: "orders".into(),
            stream: 1,
            created_at_ms: 1,
            modified_at_ms: 1,
            purged_at_ms: 0,
            dedup_by_group: false,
            settings,
            policy_ids: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        let (mut log, _) = Log::open(options).unwrap();
        log.put_catalog(&QueueRecord::key("000000000000", "orders"), &encode(&record)).unwrap();
        log.close().unwrap();
    }

    #[test]
    fn own_policies_decide_where_the_queue_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let alice = ask(&config, "arn:aws:iam::000000000000:user/alice", "sqs:SendMessage", ORDERS).unwrap();
        assert!(
            alice.allowed && alice.without_queue && alice.because[0].contains("All"),
            "{:?}",
            alice.because
        );
        assert!(
            !ask(&config, "arn:aws:iam::000000000000:user/nobody", "sendmessage", ORDERS).unwrap().allowed
        );
        assert!(ask(&config, "arn:aws:iam::000000000000:root", "sqs:ListQueues", "*").unwrap().allowed);
    }

    #[test]
    fn the_stored_queue_policy_decides_for_another_account() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let worker = "arn:aws:iam::111111111111:role/worker";
        let before = ask(&config, worker, "sqs:SendMessage", ORDERS).err().unwrap();
        assert!(matches!(before, ExplainError::NoQueue { .. }));
        let policy = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Sid": "In", "Effect": "Allow", "Principal": {{"AWS": "{worker}"}}, "Action": "sqs:SendMessage", "Resource": "{ORDERS}"}}}}"#
        );
        store_queue(folder.path(), &policy);
        let session = "arn:aws:sts::111111111111:assumed-role/worker/one";
        for principal in [worker, session] {
            let answer = ask(&config, principal, "sqs:SendMessage", ORDERS).unwrap();
            assert!(answer.allowed && answer.because[0].contains("In"), "{:?}", answer.because);
            assert!(!ask(&config, principal, "sqs:ReceiveMessage", ORDERS).unwrap().allowed);
        }
        assert!(!ask(&config, "*", "sqs:SendMessage", ORDERS).unwrap().allowed);
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let root = "arn:aws:iam::000000000000:root";
        for (principal, action, resource) in [
            ("arn:aws:iam::000000000000:user/gone", "sqs:SendMessage", ORDERS),
            (root, "kms:Decrypt", ORDERS),
            (root, "sqs:Fly", ORDERS),
            (root, "sqs:SendMessage", "orders"),
        ] {
            assert_eq!(ask(&config, principal, action, resource).err().unwrap().exit(), Exit::Settings);
        }
    }
}
