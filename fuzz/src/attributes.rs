//! Any values as the attributes of CreateQueue and SetQueueAttributes, a line each as `Name=value`: refused, or shown
//! again in a form that sets the same.

use sealq_api::arn::QueueArn;
use sealq_api::sqs::attributes::{
    AttributeChanges, AttributeContext, GivenAttributes, LiveAttributes, QueueSettings, RequestedAttributes,
};

/// One input.
pub fn attributes(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let given: GivenAttributes<'_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), Some(value.into())))
        .collect();
    for context in [
        AttributeContext::Create,
        AttributeContext::Set { fifo: false },
        AttributeContext::Set { fifo: true },
    ] {
        let Ok(changes) = AttributeChanges::parse(&given, context) else { continue };
        let fifo = match context {
            AttributeContext::Create => changes.fifo == Some(true),
            AttributeContext::Set { fifo } => fifo,
        };
        let Ok(settings) = QueueSettings::new(fifo, true).apply(&changes) else { continue };
        let shown = settings.render(RequestedAttributes::ALL, &live());
        let again: GivenAttributes<'_> =
            shown.iter().map(|(name, value)| ((*name).into(), Some(value.as_str().into()))).collect();
        let again =
            AttributeChanges::parse(&again, AttributeContext::Create).expect("what is shown can be set");
        assert_eq!(settings.check_same(&again), Ok(()), "what is shown is what is set");
    }
}

fn live() -> LiveAttributes {
    LiveAttributes {
        arn: QueueArn::parse("arn:aws:sqs:us-east-1:000000000000:q").expect("an ARN"),
        visible: 1,
        not_visible: 2,
        delayed: 3,
        created_at_s: 4,
        modified_at_s: 5,
    }
}
