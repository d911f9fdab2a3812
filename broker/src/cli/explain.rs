//! `sealq explain`: how the broker would decide a request, and by which statements. Reads only; changes nothing.
//!
//! It asks the code that decides for the broker, with the users and roles of the settings and with queues, keys and grants
//! as they are stored; it works beside a running broker and on a stopped one's directory.

mod answer;
mod asked;
mod asking;
mod stored;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use clap::Args;
use sealq_api::arn::QueueArn;
use sealq_api::sqs::Action;
use sealq_config::{Config, KmsProvider, Secret};
use sealq_crypto::EncryptionContext;
use sealq_crypto::key_store::grant::GrantOperation;
use sealq_crypto::key_store::{KmsError, LoadError, Scope};
use sealq_storage::offline::ScanError;
use thiserror::Error;

use super::{Exit, Sources, data, say_error, settings};
use crate::authorize::{Authorizer, KeyFacts, RequestKeys, check_transport};
use crate::caller::{Caller, CallerKind};
use crate::catalog::CatalogError;
use crate::clock::Clock;
use crate::first_start::FirstStartError;
use crate::identity::{Identities, IdentityError};
use crate::key_rights::{condition_keys, grant_caller, named_by};
use crate::queues::{Queue, is_encrypted};
use answer::Answer;
use asked::{Asked, KeyAction, TokenAction};
use stored::Stored;

/// The request to decide.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Who asks: ARN of a user, role, role session or root; the name of a service; `*` for an unsigned request.
    #[arg(long, value_name = "ARN")]
    principal: String,
    /// What is asked: `sqs:SendMessage`, `kms:Decrypt`, `sts:AssumeRole`.
    #[arg(long, value_name = "A")]
    action: String,
    /// ARN of the queue, key, alias or role it is asked of; `*` for actions without one.
    #[arg(long, value_name = "ARN")]
    resource: String,
    /// Address that the request comes from, for policies that ask. It is taken to come over HTTPS.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    source_ip: IpAddr,
    /// One pair of the encryption context, for key policies and grants that ask.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    encryption_context: Vec<(String, String)>,
    /// Another condition key of the request: `kms:ViaService=sqs.us-east-1.amazonaws.com`, `sts:ExternalId=x`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    condition: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name, an equals sign and a value are needed".into()),
    }
}

/// The request cannot be decided.
#[derive(Debug, Error)]
enum ExplainError {
    #[error(
        "the settings know no principal {0}: give the ARN of an [[account]] user, role or root, or a [[service]]"
    )]
    Principal(String),
    #[error(
        "{0} is no action of sqs, kms or sts: give one like sqs:SendMessage, kms:Decrypt or sts:AssumeRole"
    )]
    Action(String),
    #[error("{given} is no ARN of a {kind}: give one like {example}")]
    Resource { given: String, kind: &'static str, example: &'static str },
    #[error(
        "there is no queue {arn} in {data_dir}, and only its policy could admit another account: create it first, or \
         name the broker's directory with --data-dir"
    )]
    NoQueue { arn: String, data_dir: String },
    #[error("the settings know no role {0}")]
    NoRole(String),
    #[error("{0}: create it first, or name the broker's directory with --data-dir")]
    NoKey(KmsError),
    #[error(
        "there is no root key {0}, and the key policies are sealed under it: run this as the broker's user, or name its \
         directory with --secrets-dir"
    )]
    NoRootKey(String),
    #[error("kms.provider keeps the keys elsewhere: ask that key service about them")]
    KeysElsewhere,
    #[error(transparent)]
    RootKey(#[from] FirstStartError),
    #[error("the stored keys cannot be opened: {0}")]
    Keys(#[from] LoadError),
    #[error("the policy of {arn} is damaged: {reason}")]
    KeyPolicy { arn: String, reason: String },
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
            Self::Catalog(_) | Self::Keys(_) | Self::KeyPolicy { .. } => Exit::Data,
            Self::RootKey(error) if error.is_about_data() => Exit::Data,
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
            let printed = data(&answer.text(&arguments.principal, &arguments.action, &arguments.resource));
            if printed == Exit::Done && !answer.is_allowed() { Exit::Denied } else { printed }
        }
        Err(error) => {
            say_error(&error);
            error.exit()
        }
    }
}

/// What is asked, by whom, and everything that decides it.
struct Question<'a> {
    config: &'a Config,
    arguments: &'a Arguments,
    authorizer: Authorizer,
    identities: Identities,
    stored: Stored,
    caller: Caller,
}

fn decide(config: &Config, arguments: &Arguments, clock: Clock) -> Result<Answer, ExplainError> {
    let asked = Asked::parse(&arguments.action)?;
    let mut stored = Stored::read(config, &arguments.resource)?;
    // Nothing is signed here: the root's access key has no part in it.
    let identities = Identities::build(config, ("", Secret::default()), &mut stored.ids)?;
    let caller = asking::caller(config, &identities, &arguments.principal, arguments.source_ip)
        .ok_or_else(|| ExplainError::Principal(arguments.principal.clone()))?;
    let authorizer = Authorizer::new(clock, &config.identity.region);
    let mut question = Question { config, arguments, authorizer, identities, stored, caller };
    match asked {
        Asked::Queue(action) => question.queue(action),
        Asked::Key(action) => question.key(action),
        Asked::KeyService(name) => Ok(question.without_policy(&format!("kms:{name}"))),
        Asked::Token(action) => question.token(action),
    }
}

impl Question<'_> {
    fn keys(&self) -> RequestKeys<'_> {
        let mut keys = self.authorizer.keys(&self.caller);
        for (name, value) in &self.arguments.condition {
            keys.add(name.clone(), value.clone());
        }
        keys
    }

    fn queue(&mut self, action: Action) -> Result<Answer, ExplainError> {
        let resource = &self.arguments.resource;
        let of_account = matches!(action, Action::CreateQueue | Action::ListQueues);
        let arn = QueueArn::parse(resource).ok();
        if arn.is_none() && action != Action::ListQueues {
            let example = "arn:aws:sqs:us-east-1:000000000000:orders";
            return Err(ExplainError::Resource { given: resource.clone(), kind: "queue", example });
        }
        if let Some(record) = self.stored.queue.take().filter(|_| !of_account) {
            let queue = Queue::new(record, &self.config.identity.partition, Arc::default());
            if let Err(refusal) = check_transport(&self.caller, is_encrypted(&queue.record.settings)) {
                return Ok(Answer::refused(refusal.message));
            }
            let decision = self.authorizer.decide_queue(&self.caller, action, &queue, self.keys());
            return Ok(Answer::of(&decision, action.iam_action()));
        }
        if arn.is_some_and(|arn| arn.account != *self.caller.account) {
            let data_dir = self.config.data_dir.display().to_string();
            return Err(ExplainError::NoQueue { arn: resource.clone(), data_dir });
        }
        let answer = self.without_policy(action.iam_action());
        Ok(if of_account {
            answer
        } else {
            answer.noting("there is no such queue: only the caller's own policies were asked")
        })
    }

    /// What no resource policy speaks of.
    fn without_policy(&self, action: &str) -> Answer {
        let resource = &self.arguments.resource;
        Answer::of(&self.authorizer.decide_account(&self.caller, action, resource, &self.keys()), action)
    }

    fn key(&self, action: KeyAction) -> Result<Answer, ExplainError> {
        if self.caller.is_anonymous() {
            return Ok(Answer::refused("the key service answers nobody who does not sign"));
        }
        if self.config.kms.provider != KmsProvider::Embedded {
            return Err(ExplainError::KeysElsewhere);
        }
        let store = self.stored.open_keys(self.config)?;
        let account = match &self.caller.kind {
            CallerKind::Service { source_account, .. } => source_account,
            _ => &self.caller.account,
        };
        let scope = Scope {
            partition: self.config.identity.partition.clone(),
            account: account.to_string(),
            region: self.config.identity.region.clone(),
        };
        let named = &self.arguments.resource;
        let key = store.resolve(named, &scope, action.resolved_as()).map_err(ExplainError::NoKey)?;
        let mut context = EncryptionContext::new();
        for (name, value) in &self.arguments.encryption_context {
            context.insert(name.clone(), value.clone());
        }
        let operation = GrantOperation::from_name(action.name());
        let granted = operation
            .and_then(|operation| store.grant_allows(key, &grant_caller(&self.caller), operation, &context))
            .map(|held| named_by(held, &self.caller));
        let mut keys = self.keys();
        condition_keys::add_key(&mut keys, &store, key).map_err(ExplainError::NoKey)?;
        condition_keys::add_request_alias(&mut keys, named);
        keys.add_context(&context);
        let arn = store.key_arn(key).map_err(ExplainError::NoKey)?;
        let owner = store.owner(key).map_err(ExplainError::NoKey)?;
        let policy = stored::key_policy(&store, key, &arn)?;
        let facts = KeyFacts { arn: &arn, shown: &arn, account: &owner.account, policy: &policy, granted };
        let name = format!("kms:{}", action.name());
        Ok(Answer::of(&self.authorizer.decide_key(&self.caller, &name, facts, &keys), &name))
    }

    fn token(&self, action: TokenAction) -> Result<Answer, ExplainError> {
        if self.caller.is_anonymous() {
            return Ok(Answer::refused("the token service answers nobody who does not sign"));
        }
        match action {
            TokenAction::GetCallerIdentity => Ok(Answer::granted("everybody who signs may ask who they are")),
            TokenAction::GetSessionToken => Ok(match &self.caller.kind {
                CallerKind::User | CallerKind::Root => {
                    Answer::granted("long-term credentials need no right to it")
                }
                _ => Answer::refused("it takes the long-term credentials of a user or root"),
            }),
            TokenAction::AssumeRole => self.assume_role(),
        }
    }

    fn assume_role(&self) -> Result<Answer, ExplainError> {
        let arn = &self.arguments.resource;
        let role = self.identities.role(arn).ok_or_else(|| ExplainError::NoRole(arn.clone()))?;
        if self.caller.kind == CallerKind::Root {
            return Ok(Answer::refused("roles may not be assumed by root accounts"));
        }
        let is_service = matches!(self.caller.kind, CallerKind::Service { .. });
        if is_service && !asking::assumes_roles(self.config, &self.arguments.principal) {
            return Ok(Answer::refused("the settings of this [[service]] do not let it assume roles"));
        }
        let decision = self.authorizer.decide_role(&self.caller, role, &self.keys());
        Ok(Answer::of(&decision, "sts:AssumeRole"))
    }
}

#[cfg(test)]
mod tests;
