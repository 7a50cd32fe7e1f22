//! The attacks of `docs/threat-model.md` against processes of the program: logs, mirrors, witnesses, peers and clients that
//! a test plays, and what the real program makes of them.

#[path = "attacks/answers.rs"]
mod answers;
#[path = "attacks/asked.rs"]
mod asked;
#[path = "attacks/caches.rs"]
mod caches;
#[path = "attacks/claims.rs"]
mod claims;
#[path = "attacks/clock.rs"]
mod clock;
#[path = "attacks/closures.rs"]
mod closures;
#[path = "attacks/damage.rs"]
mod damage;
#[path = "attacks/deep.rs"]
mod deep;
#[path = "attacks/forks.rs"]
mod forks;
#[path = "attacks/indexes.rs"]
mod indexes;
#[path = "attacks/loud.rs"]
mod loud;
#[path = "attacks/mirrored.rs"]
mod mirrored;
#[path = "attacks/places.rs"]
mod places;
#[path = "attacks/returning.rs"]
mod returning;
#[path = "attacks/scene.rs"]
mod scene;
#[path = "attacks/serving.rs"]
mod serving;
#[path = "attacks/site.rs"]
mod site;
#[path = "attacks/sources.rs"]
mod sources;
#[path = "attacks/starting.rs"]
mod starting;
#[path = "attacks/storm.rs"]
mod storm;
#[path = "attacks/submitting.rs"]
mod submitting;
#[path = "attacks/told.rs"]
mod told;
#[path = "attacks/votes.rs"]
mod votes;
#[path = "attacks/witnessed.rs"]
mod witnessed;
#[path = "attacks/witnesses.rs"]
mod witnesses;
