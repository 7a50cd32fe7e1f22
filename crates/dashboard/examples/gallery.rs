//! For looking at the pages while writing them: serves them from a fake aggregator with made-up answers.
//! `cargo run -p quorix-dashboard --example gallery`, then see the printed addresses, one for each state of the world.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

#[path = "../tests/pages/world.rs"]
mod world;

use quorix_dashboard::error::SourceError;
use quorix_dashboard::routes::router;
use world::World;

#[tokio::main]
async fn main() {
    let away = World {
        failure: Some(SourceError::Away(
            "the aggregator cannot be reached: connection refused".into(),
        )),
        ..World::default()
    };
    let empty = World {
        logs: world::busy().logs,
        ..World::default()
    };
    let worlds = [
        ("busy", world::busy()),
        ("quarantined", world::quarantined()),
        ("empty", empty),
        ("away", away),
    ];
    let mut servers = tokio::task::JoinSet::new();
    for (name, world) in worlds {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        println!("{name}: http://{}/", listener.local_addr().unwrap());
        servers.spawn(async move { axum::serve(listener, router(world.dashboard())).await });
    }
    servers.join_all().await;
}
