//! Folders served over HTTP as binary caches are, and how to spoil one.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use tower_http::services::ServeDir;

use crate::output::Failure;

/// Serves a folder until the runtime ends. Returns its URL.
///
/// # Errors
/// No free port.
pub async fn serve(dir: &Path) -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let listener = listener.map_err(|error| Failure::unknown(format!("no free port: {error}")))?;
    let address = listener.local_addr().map_err(Failure::unknown)?;
    let router = Router::new().fallback_service(ServeDir::new(dir));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

/// Alters one byte in the middle of every NAR of a cache folder. Returns how many.
///
/// # Errors
/// A file cannot be read or written.
pub fn corrupt(dir: &Path) -> Result<usize, Failure> {
    let failed = |error: std::io::Error| Failure::unknown(format!("{}: {error}", dir.display()));
    let mut altered = 0;
    for file in fs::read_dir(dir.join("nar")).map_err(failed)? {
        let file = file.map_err(failed)?.path();
        let mut bytes = fs::read(&file).map_err(failed)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&file, bytes).map_err(failed)?;
        altered += 1;
    }
    Ok(altered)
}
