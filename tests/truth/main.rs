//! MWAA is the truth, an event is a hint, and a tag is what anybody may have written: a test for each
//! promise, named after it.
//!
//! What is asserted are results, calls and what is in the VPC afterwards. Beside that, the double notes
//! what may never happen, such as a policy written from an old look; see [`scene::Scene::send`].

mod agreement;
#[path = "../double/mod.rs"]
mod double;
mod estate;
mod ownership;
mod permissions;
mod rule;
mod samples;
mod scene;
mod walls;
mod writing;
