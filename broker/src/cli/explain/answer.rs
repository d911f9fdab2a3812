//! A decision as it is printed.

use sealq_api::iam::Decision;

/// Yes or no, why, and by which statements.
#[derive(Debug)]
pub(super) struct Answer {
    /// Why it is denied.
    denial: Option<String>,
    because: Vec<String>,
    note: Option<&'static str>,
}

impl Answer {
    /// Of policies.
    pub(super) fn of(decision: &Decision<'_>, action: &str) -> Self {
        Self {
            denial: decision.denial.map(|reason| reason.tail(action)),
            because: decision.because.iter().map(ToString::to_string).collect(),
            note: None,
        }
    }

    /// By a rule that no policy changes.
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { denial: Some(why.into()), because: Vec::new(), note: None }
    }

    /// By a rule that no policy changes.
    pub(super) fn granted(why: &str) -> Self {
        Self { denial: None, because: vec![why.to_owned()], note: None }
    }

    pub(super) fn noting(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }

    pub(super) fn text(&self, principal: &str, action: &str, resource: &str) -> String {
        let verdict = if self.is_allowed() { "allowed" } else { "denied" };
        let mut text = format!("{verdict}: {principal} {action} on {resource}\n");
        if let Some(denial) = &self.denial {
            text += &format!("  {denial}\n");
        }
        for statement in &self.because {
            text += &format!("  by: {statement}\n");
        }
        if let Some(note) = self.note {
            text += &format!("  {note}\n");
        }
        text
    }
}
