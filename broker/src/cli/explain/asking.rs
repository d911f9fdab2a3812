//! Who asks: the caller that a signature of this principal would establish.

use std::net::IpAddr;

use sealq_config::Config;
use sealq_config::accounts::SenderService;

use crate::caller::{Caller, CallerKind};
use crate::identity::{Identities, role_of_session};

/// Session name where a role is given without one.
const SESSION_NAME: &str = "session";
/// Stands for the access key that would sign.
const ACCESS_KEY: &str = "explain";

/// `None`: the settings know no such principal.
pub(super) fn caller(
    config: &Config,
    identities: &Identities,
    arn: &str,
    source_ip: IpAddr,
) -> Option<Caller> {
    let unsigned = Caller { source_ip, secure_transport: true, ..Caller::anonymous() };
    if arn == "*" {
        return Some(unsigned);
    }
    let access_key = ACCESS_KEY.into();
    if let Some(principal) = identities.principal(arn) {
        return Some(principal.caller(&access_key, unsigned));
    }
    let signed = Caller { access_key_id: access_key, ..unsigned };
    if let Some(service) = service(config, arn) {
        let kind = CallerKind::Service {
            source_arn: service.source_arn.as_str().into(),
            source_account: service.source_account.as_str().into(),
        };
        return Some(Caller { kind, arn: arn.into(), unique_id: arn.into(), name: arn.into(), ..signed });
    }
    let (role_arn, session) = role_session(arn);
    Some(identities.role(&role_arn)?.session(session, false, signed))
}

/// Whether the service of this name may assume roles.
pub(super) fn assumes_roles(config: &Config, principal: &str) -> bool {
    service(config, principal).is_some_and(|service| service.assume_roles)
}

fn service<'c>(config: &'c Config, principal: &str) -> Option<&'c SenderService> {
    config.service.iter().find(|service| service.principal == principal)
}

/// The role's ARN and the session's name in the ARN of a role or of a session of it.
fn role_session(arn: &str) -> (String, &str) {
    match (role_of_session(arn), arn.rsplit_once('/')) {
        (Some(role), Some((_, session))) => (role, session),
        _ => (arn.to_owned(), SESSION_NAME),
    }
}
