//! The scripts of the client, served below the path of an engine, as in Node (`serveClient`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::http::Asset;
use crate::{Error, Result};

/// The files that Node's server serves, if they are there.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The type of scripts.
const SCRIPT: &str = "application/javascript; charset=utf-8";

/// Scripts in memory, by their name. Cheap to clone, also for other threads.
///
/// A page loads `/socket.io/socket.io.js` from the server that it connects to, so that client and server fit.
#[derive(Clone, Default)]
pub struct ClientFiles {
    files: Arc<HashMap<Cow<'static, str>, Asset>>,
}

impl ClientFiles {
    /// Reads the scripts of the npm package `socket.io-client` (its folder `dist`) that are in a folder.
    ///
    /// # Errors
    /// The folder has none of them, or one cannot be read.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<ClientFiles> {
        let folder = folder.as_ref();
        let mut files = HashMap::new();
        for name in NAMES {
            match std::fs::read(folder.join(name)) {
                Ok(bytes) => {
                    let content_type = if name.ends_with(".map") { "application/json; charset=utf-8" } else { SCRIPT };
                    let asset = Asset::from_bytes(content_type, bytes);
                    files.insert(Cow::Borrowed(name), asset.header("cache-control", "public, max-age=0"));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(folder, &error.to_string())),
            }
        }
        if files.is_empty() {
            return Err(unreadable(folder, "it has no socket.io.js; take the folder `dist` of socket.io-client"));
        }
        Ok(ClientFiles { files: Arc::new(files) })
    }

    /// Adds a script, or replaces one. For a program that has its scripts in the executable:
    /// `ClientFiles::default().with_script("socket.io.js", include_str!("socket.io.js"))`.
    #[must_use]
    pub fn with_script(
        mut self,
        name: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> ClientFiles {
        Arc::make_mut(&mut self.files).insert(name.into(), Asset::new(SCRIPT, text));
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&Asset> {
        self.files.get(name)
    }
}

fn unreadable(folder: &Path, why: &str) -> Error {
    Error::custom("E_CLIENT_FILES", format!("{}: {why}", folder.display()))
}

impl fmt::Debug for ClientFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}
