//! Public crates that evaluate IAM policies, as oracles: what one statement, one document and one caller's own policies
//! say of a request, asked of the engine and of each crate, over a table written by hand and over generated scenes.
//!
//! A crate's answer counts wherever none of its known faults has a part in it. A fault is listed with what the crate
//! does, where that can matter, and an example whose right answer the IAM user guide gives: it has to go on answering
//! that one wrongly, so that the list neither grows beyond what is true nor outlives a repair. None of them decides
//! anything outside this test.

#[path = "oracles/aspen.rs"]
mod aspen;
#[path = "oracles/iam_rs.rs"]
mod iam_rs;
#[path = "oracles/statement.rs"]
mod statement;
#[path = "oracles/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sealq_api::iam::decision::{IdentityPolicies, decide_identity};
use sealq_api::iam::{Policy, PolicyKind, Request};
use serde_json::{Value, json};

use crate::scene::{ASKERS, Asker, Keys, Scene};
use statement::{list, parts};

const SCENES: u32 = 6_000;
const SCENE_BYTES_MAX: usize = 400;

/// What a document says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Allow,
    Deny,
    Nothing,
}

/// A request, without the policies that have a say in it.
#[derive(Debug, Clone)]
struct Question {
    asker: Asker,
    action: &'static str,
    resource: &'static str,
    /// In lower case.
    keys: BTreeMap<&'static str, Vec<String>>,
}

impl Question {
    fn of(scene: &Scene) -> Self {
        Self { asker: scene.asker, action: scene.action, resource: scene.resource, keys: scene.keys.clone() }
    }

    /// The values of a key, none where it is absent.
    fn values(&self, key: &str) -> &[String] {
        self.keys.get(key.to_lowercase().as_str()).map_or(&[], Vec::as_slice)
    }
}

/// One statement, the document that holds it, alone or among others, and a request.
struct Asked<'a> {
    statement: &'a Value,
    document: &'a Value,
    question: &'a Question,
}

/// Where a crate is known to differ from what AWS documents.
struct Fault {
    /// What it does.
    does: &'static str,
    /// Whether that can have a part in its answer.
    concerns: fn(&Asked<'_>) -> bool,
    /// One that it answers wrongly.
    example: Example,
}

/// A request, a statement or a list of them, and what it says of the request.
struct Example {
    version: &'static str,
    asker: &'static str,
    keys: &'static [(&'static str, &'static [&'static str])],
    statement: &'static str,
    says: Said,
}

/// The example that the others vary: Alice sends to a queue of her account.
const ALICE_SENDS: Example =
    Example { version: "2012-10-17", asker: "user/alice", keys: &[], statement: "", says: Said::Allow };

trait Oracle {
    const NAME: &'static str;
    const FAULTS: &'static [Fault];

    /// What the document says. An error: it refuses the document, or does not come to an answer.
    fn says(document: &str, question: &Question) -> Result<Said, String>;

    /// Whether a caller's own policies allow the request. `None`: it has no such notion for these.
    fn allows(
        identity: &[String],
        session: &[String],
        boundary: Option<&String>,
        question: &Question,
    ) -> Option<Result<bool, String>>;

    /// Whether no known fault can have a part in its answer to a document.
    fn can_answer(document: &Value, question: &Question) -> bool {
        list(&document["Statement"]).iter().all(|statement| {
            let asked = Asked { statement, document, question };
            !Self::FAULTS.iter().any(|fault| (fault.concerns)(&asked))
        })
    }
}

/// How much was compared, so that a test cannot pass by leaving everything out.
#[derive(Debug, Default)]
struct Tally {
    statements: usize,
    compared: BTreeMap<Said, usize>,
    documents: usize,
    callers: usize,
}

fn engine_says(document: &str, kind: PolicyKind, question: &Question) -> Said {
    let policy = Policy::parse(document, kind).unwrap_or_else(|error| panic!("{error}: {document}"));
    let keys = Keys(&question.keys);
    let verdict = policy.evaluate(&request(question, &keys));
    match (verdict.deny, verdict.allow()) {
        (Some(_), _) => Said::Deny,
        (None, Some(_)) => Said::Allow,
        (None, None) => Said::Nothing,
    }
}

fn request<'a>(question: &'a Question, keys: &'a Keys<'a>) -> Request<'a> {
    Request {
        principal: question.asker.principal(),
        action: question.action,
        resource: question.resource,
        keys,
    }
}

/// A document with a statement, or a list of them.
fn holding(statement: &Value, version: &Value) -> Value {
    let mut document = json!({ "Statement": statement.clone() });
    if !version.is_null() {
        document["Version"] = version.clone();
    }
    document
}

/// Compares the answers to each statement, or to as much of it as no fault has a part in, and to the whole document; true
/// if no fault has a part in any of it.
fn compare_document<O: Oracle>(
    document: &Value,
    kind: PolicyKind,
    question: &Question,
    tally: &mut Tally,
) -> bool {
    let compare = |document: &Value| -> Said {
        let text = document.to_string();
        let ours = engine_says(&text, kind, question);
        assert_eq!(O::says(&text, question), Ok(ours), "{} of {text}, asked {question:#?}", O::NAME);
        ours
    };
    for statement in list(&document["Statement"]) {
        tally.statements += 1;
        let mut alone = parts(&statement).into_iter().map(|part| holding(&part, &document["Version"]));
        if let Some(part) = alone.find(|part| O::can_answer(part, question)) {
            *tally.compared.entry(compare(&part)).or_default() += 1;
        }
    }
    let is_clear = O::can_answer(document, question);
    if is_clear {
        tally.documents += 1;
        compare(document);
    }
    is_clear
}

fn compare_scene<O: Oracle>(scene: &Scene, tally: &mut Tally) {
    let question = Question::of(scene);
    let mut is_clear = true;
    let own = [
        (&scene.identity[..], PolicyKind::Identity),
        (&scene.session[..], PolicyKind::Session),
        (scene.boundary.as_slice(), PolicyKind::Boundary),
    ];
    for (documents, kind) in own {
        for document in documents {
            is_clear &= compare_document::<O>(&read(document), kind, &question, tally);
        }
    }
    if let Some(document) = &scene.of_resource {
        compare_document::<O>(&read(document), scene.resource_kind(), &question, tally);
    }
    if !is_clear || scene.asker.is_root() || scene.identity.is_empty() {
        return;
    }
    let theirs = O::allows(&scene.identity, &scene.session, scene.boundary.as_ref(), &question);
    if let Some(theirs) = theirs {
        tally.callers += 1;
        assert_eq!(theirs, Ok(own_policies_allow(scene, &question)), "{} of {scene:#?}", O::NAME);
    }
}

fn read(document: &str) -> Value {
    serde_json::from_str(document).expect("scenes hold JSON")
}

fn own_policies_allow(scene: &Scene, question: &Question) -> bool {
    let parse = |texts: &[String], kind| -> Vec<Arc<Policy>> {
        texts.iter().map(|text| Arc::new(Policy::parse(text, kind).expect("compared before"))).collect()
    };
    let identity = parse(&scene.identity, PolicyKind::Identity);
    let session = parse(&scene.session, PolicyKind::Session);
    let boundary = parse(scene.boundary.as_slice(), PolicyKind::Boundary);
    let caller = IdentityPolicies {
        identity: &identity,
        session: &session,
        boundary: boundary.first().map(|policy| &**policy),
        is_root: false,
    };
    let keys = Keys(&question.keys);
    decide_identity(&request(question, &keys), &caller).is_allowed()
}

fn generated_scenes_are_answered_alike<O: Oracle>() {
    let mut tally = Tally::default();
    let config = ProptestConfig { cases: SCENES, failure_persistence: None, ..ProptestConfig::default() };
    // The same scenes at every run: a fault of a crate that is in no list yet shall not stop somebody else's change.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let tally_of = std::cell::RefCell::new(&mut tally);
    let run = TestRunner::new_with_rng(config, rng).run(
        &prop::collection::vec(any::<u8>(), SCENE_BYTES_MAX / 2..SCENE_BYTES_MAX),
        |bytes| {
            compare_scene::<O>(&Scene::from_bytes(&bytes), &mut tally_of.borrow_mut());
            Ok(())
        },
    );
    assert!(run.is_ok(), "{run:?}");
    let compared: usize = tally.compared.values().sum();
    assert!(compared * 3 > tally.statements, "{tally:?}");
    let every = [Said::Allow, Said::Deny, Said::Nothing];
    assert!(every.iter().all(|said| tally.compared.get(said).is_some_and(|times| *times > 500)), "{tally:?}");
    assert!(tally.documents > 500 && tally.callers > 50, "{tally:?}");
}

/// The first whose ARN ends so.
fn asker(name: &str) -> Asker {
    *ASKERS.iter().find(|asker| asker.arn.ends_with(name)).expect("one of those who ask")
}

/// An example as it is asked; its kind follows from what its statements name.
fn asked_example(example: &Example) -> (Question, Value, PolicyKind) {
    let statement: Value = serde_json::from_str(example.statement)
        .unwrap_or_else(|error| panic!("{error}: {}", example.statement));
    let names = |elements: [&str; 2]| {
        list(&statement).iter().any(|one| elements.iter().any(|name| one.get(name).is_some()))
    };
    let kind = match (names(["Principal", "NotPrincipal"]), names(["Resource", "NotResource"])) {
        (false, _) => PolicyKind::Identity,
        (true, true) => PolicyKind::Queue,
        (true, false) => PolicyKind::Trust,
    };
    let keys = example.keys.iter();
    let question = Question {
        asker: asker(example.asker),
        action: if kind == PolicyKind::Trust { "sts:AssumeRole" } else { "sqs:SendMessage" },
        resource: "arn:aws:sqs:us-east-1:111111111111:q",
        keys: keys
            .map(|(key, values)| (*key, values.iter().map(|value| (*value).into()).collect()))
            .collect(),
    };
    let version = if example.version.is_empty() { Value::Null } else { json!(example.version) };
    (question, holding(&statement, &version), kind)
}

fn every_known_fault_is_still_there<O: Oracle>() {
    for Fault { does, concerns, example } in O::FAULTS {
        let (question, document, kind) = asked_example(example);
        let text = document.to_string();
        assert_eq!(engine_says(&text, kind, &question), example.says, "the engine: {does}: {text}");
        assert_ne!(O::says(&text, &question), Ok(example.says), "{} no longer {does}: {text}", O::NAME);
        let statements = list(&document["Statement"]);
        let asked = |statement| Asked { statement, document: &document, question: &question };
        let is_found = statements.iter().any(|statement| concerns(&asked(statement)));
        assert!(is_found, "{} {does}: the example is none of it: {text}", O::NAME);
    }
}

/// What the table's rows say; how many of them the crate could be asked about.
fn the_table_is_answered_alike<O: Oracle>() -> usize {
    let mut tally = Tally::default();
    for example in table::ROWS {
        let (question, document, kind) = asked_example(example);
        compare_document::<O>(&document, kind, &question, &mut tally);
    }
    tally.documents
}

#[test]
fn auth_19_the_table_holds_for_the_engine() {
    for example in table::ROWS {
        let (question, document, kind) = asked_example(example);
        let text = document.to_string();
        assert_eq!(engine_says(&text, kind, &question), example.says, "{text}, asked {question:#?}");
    }
}

#[test]
fn the_table_holds_for_the_oracles_but_for_their_faults() {
    let rows = table::ROWS.len();
    for asked in
        [the_table_is_answered_alike::<iam_rs::IamRs>(), the_table_is_answered_alike::<aspen::Aspen>()]
    {
        assert!(asked * 2 > rows, "{asked} of {rows} rows");
    }
}

#[test]
fn auth_13_iam_rs_decides_generated_scenes_alike_but_for_its_faults() {
    generated_scenes_are_answered_alike::<iam_rs::IamRs>();
}

#[test]
fn auth_13_aspen_decides_generated_scenes_alike_but_for_its_faults() {
    generated_scenes_are_answered_alike::<aspen::Aspen>();
}

#[test]
fn the_known_faults_of_iam_rs_are_still_there() {
    every_known_fault_is_still_there::<iam_rs::IamRs>();
}

#[test]
fn the_known_faults_of_aspen_are_still_there() {
    every_known_fault_is_still_there::<aspen::Aspen>();
}
