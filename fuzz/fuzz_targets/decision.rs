//! Bytes as a request with its policies: the engine decides as the reference does.
#![no_main]

#[path = "../../api/tests/policies/reference.rs"]
mod reference;
#[path = "../../api/tests/policies/scene.rs"]
mod scene;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let scene = scene::Scene::from_bytes(bytes);
    assert_eq!(scene.decided(), reference::decide(&scene), "{scene:#?}");
});
