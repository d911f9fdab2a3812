//! The policy engine against a reference that is too simple to be wrong in the same way, and against public crates that
//! evaluate the same language, over whole scenes: a request, and every policy that has a say in it.

#[path = "policies/oracles.rs"]
mod oracles;
#[path = "policies/reference.rs"]
mod reference;
#[path = "policies/scene.rs"]
mod scene;

use proptest::prelude::*;
use scene::Scene;

/// Bytes of one scene; the choices beyond them are all the first.
const SCENE_BYTES_MAX: usize = 400;
const SCENES: u32 = 8_192;

proptest! {
    #![proptest_config(ProptestConfig { cases: SCENES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn auth_13_the_engine_decides_as_the_reference(bytes in prop::collection::vec(any::<u8>(), 0..SCENE_BYTES_MAX)) {
        let scene = Scene::from_bytes(&bytes);
        prop_assert_eq!(scene.decided(), reference::decide(&scene), "{:#?}", scene);
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_is_decided_alike() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/decision");
    let (mut seeds, mut allowed, mut explicit) = (0, 0, 0);
    for file in std::fs::read_dir(corpus).unwrap() {
        let scene = Scene::from_bytes(&std::fs::read(file.unwrap().path()).unwrap());
        let decided = scene.decided();
        assert_eq!(decided, reference::decide(&scene), "{scene:#?}");
        seeds += 1;
        allowed += u32::from(decided.0);
        explicit += u32::from(decided.1);
    }
    let implicit = seeds - allowed - explicit;
    assert!(
        allowed * 10 > seeds && explicit * 20 > seeds && implicit * 10 > seeds,
        "{allowed} {explicit} {seeds}"
    );
}
