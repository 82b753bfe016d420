//! The file of a page. It is opened before the run, so that a wrong path is found early, and written after it.
//!
//! An earlier page stays as it is until the new one is complete on the disk. The new one is written to a file beside
//! it, which then takes its name.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bucle::process;

use crate::cli::advice::cannot_write;
use crate::cli::usage::Usage;

/// An open file that the page will be written to.
#[derive(Debug)]
pub(crate) struct PageFile {
    path: PathBuf,
    file: File,
    /// Whether the file did not exist. Then it is removed again if no page is written.
    is_new: bool,
}

/// Opens the file of a page, which may have an earlier page but nothing else. Every page begins with `head`.
pub(crate) fn create(path: &Path, head: &str) -> Result<PageFile, Usage> {
    let name = path.display();
    if is_another_file(path, head) {
        let why = format!("--html: {name} exists and is not such a page");
        return Err(Usage::new(why, "bucle load … --html OTHER.html"));
    }
    let is_new = !path.exists();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| cannot_write("--html", path, &error, "bucle load … --html /tmp/report.html"))?;
    Ok(PageFile { path: path.to_owned(), file, is_new })
}

/// Whether the file has something other than a page of this command.
fn is_another_file(path: &Path, head: &str) -> bool {
    let has_bytes = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0);
    let mut start = vec![0; head.len()];
    has_bytes
        && !File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == head.as_bytes())
}

impl PageFile {
    /// Writes the page.
    pub(crate) fn save(mut self, page: &str) -> bucle::Result<()> {
        let metadata = self.file.metadata()?;
        if is_stdout(&metadata) {
            // The report follows in the same file.
            return process::write_stdout(page.as_bytes());
        }
        if !metadata.is_file() {
            return Ok(self.file.write_all(page.as_bytes())?);
        }
        if self.is_new {
            write_whole(&mut self.file, page)?;
            self.is_new = false;
            return Ok(());
        }
        let path = self.path.canonicalize()?;
        match Beside::create(&path, &metadata) {
            Ok(mut beside) => {
                write_whole(&mut beside.file, page)?;
                // A file that is mounted alone cannot be replaced.
                if fs::rename(&beside.path, &path).is_ok() { Ok(()) } else { self.overwrite(page) }
            }
            // The folder does not let such a file be created in it.
            Err(_) => self.overwrite(page),
        }
    }

    fn overwrite(&mut self, page: &str) -> bucle::Result<()> {
        self.file.set_len(0)?;
        Ok(write_whole(&mut self.file, page)?)
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        if self.is_new && self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file in the folder of another one. Dropping it removes it, unless it was renamed.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    /// Creates it with the permissions of the other file.
    fn create(path: &Path, other: &Metadata) -> io::Result<Beside> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let path = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let beside = Beside { path, file };
        beside.file.set_permissions(other.permissions())?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes the page, and waits until the disk has it: some file systems report a full disk only then.
fn write_whole(file: &mut File, page: &str) -> io::Result<()> {
    file.write_all(page.as_bytes())?;
    file.sync_all()
}

/// Whether the standard output goes to this file: `--html /dev/stdout > FILE`.
fn is_stdout(file: &Metadata) -> bool {
    let stdout = || File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata();
    let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    file.is_file() && stdout().is_ok_and(|stdout| place(&stdout) == place(file))
}
