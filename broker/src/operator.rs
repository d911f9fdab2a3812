//! Carries out what the operator of this machine asks for on the control socket.
//!
//! A queue is changed as its account's root would change it, by the same code and with the same audit record.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealq_api::arn::is_account_id;
use sealq_api::error::ErrorReply;
use sealq_api::queue_name::is_queue_name;
use sealq_api::sqs::request::SetQueueAttributes;
use sealq_api::sqs::{Protocol, Request};
use sealq_config::Identity;
use sealq_crypto::key_store::{KmsError, Scope};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::control::{Answer, Order};
use crate::identity::root_principal;
use crate::key_control::KeyControl;
use crate::root_rotation::RootRotation;
use crate::service::Broker;
use crate::sqs::Context;

/// See the module documentation.
pub struct Operator {
    /// The root key.
    pub rotation: RootRotation,
    /// Queues.
    pub broker: Arc<Broker>,
    /// The embedded key service.
    pub keys: Arc<KeyControl>,
    /// Time.
    pub clock: Clock,
    /// Region, account, partition.
    pub identity: Identity,
    /// `alias/aws/sqs` is a key of the embedded key service.
    pub keys_are_embedded: bool,
}

impl Operator {
    /// Carries out one order of user `uid`.
    pub async fn carry_out(&self, order: Order, uid: u32) -> Answer {
        match order {
            Order::RotateRoot(protection) => {
                let rotated =
                    self.rotation.rotate(protection, &format!("sealq kms rotate-root, user {uid}")).await;
                rotated.map(|rotated| rotated.to_string()).map_err(|error| error.to_string())
            }
            Order::EncryptQueue { account, queue, key } => {
                self.encrypt(account.as_deref(), &queue, &key).await
            }
        }
    }

    /// Turns SSE-KMS on for a queue; the default key is made if it is chosen and not there yet.
    async fn encrypt(&self, account: Option<&str>, queue: &str, key: &str) -> Answer {
        let account = account.unwrap_or(&self.identity.account_id);
        if !is_account_id(account) || !is_queue_name(queue) {
            return Err(format!("{account}/{queue} names no queue: an account has 12 digits"));
        }
        // An empty one would turn encryption off.
        if key.trim().is_empty() {
            return Err("no key is given: give its id, ARN or alias".to_owned());
        }
        let request = Request::SetQueueAttributes(SetQueueAttributes {
            queue_url: Cow::Owned(format!("/{account}/{queue}")),
            attributes: vec![(Cow::Borrowed("KmsMasterKeyId"), Some(Cow::Borrowed(key)))],
        });
        let caller = self.root_of(account);
        let context = Context {
            caller: &caller,
            base_url: "",
            protocol: Protocol::Json,
            request_id: &caller.request_id,
            trace_header: None,
        };
        let refused = |error: ErrorReply| format!("queue {queue} of account {account}: {}", error.message);
        self.broker.sqs.answer(&request, context).await.map_err(refused)?;
        if self.keys_are_embedded {
            self.make_default_key(account, key).await.map_err(|error| {
                format!("queue {queue} is set to {key}, but the key could not be made ({error}): the first send makes it")
            })?;
        }
        Ok(format!("queue {queue} of account {account} encrypts with {key} from now on"))
    }

    async fn make_default_key(&self, account: &str, key: &str) -> Result<(), KmsError> {
        let Identity { region, partition, .. } = &self.identity;
        let scope =
            Scope { partition: partition.clone(), account: account.to_owned(), region: region.clone() };
        self.keys.make_managed_key(key, &scope, self.clock.now_ms(), |_| Ok(())).await
    }

    fn root_of(&self, account: &str) -> Caller {
        let request = Caller {
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            // It never left the machine.
            secure_transport: true,
            user_agent: "sealq queue encrypt".into(),
            request_id: uuid::Uuid::new_v4().to_string().into(),
            ..Caller::anonymous()
        };
        root_principal(&self.identity.partition, account).caller(&"control-socket".into(), request)
    }
}
