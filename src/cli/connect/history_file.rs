//! The file that keeps sent lines for the next session: `$XDG_STATE_HOME/bucle/history`, by default
//! `~/.local/state/bucle/history` ([XDG Base Directory](https://specifications.freedesktop.org/basedir/latest/)).
//!
//! ```text
//!   open:    the last 64 KiB of the file ─▶ lines, the oldest first
//!   append:  one write at the end of the file, so that sessions at the same time do not lose each other's lines
//! ```
//!
//! Only the owner can read the file (mode 0600) and its folder (0700). A file that has grown beyond twice its limit is
//! replaced by its last lines when it is opened; a line that another session adds at that moment is lost. A file that
//! cannot be used is no error: the session has its own history in any case.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// How much of the file is read, and kept when it is replaced: as much as the editor keeps.
const MOST_BYTES: u64 = 64 * 1024;

/// The history of earlier sessions, and where this one adds to it.
#[derive(Default)]
pub(super) struct HistoryFile {
    /// `None`: lines are not kept.
    path: Option<PathBuf>,
    /// The lines of earlier sessions.
    text: String,
    /// The last line that was added.
    last: String,
}

impl HistoryFile {
    /// Reads the history of the user.
    pub(super) fn open() -> HistoryFile {
        let folder = state_folder(env::var_os("XDG_STATE_HOME").map(PathBuf::from), env::home_dir());
        folder.map_or_else(HistoryFile::default, |folder| HistoryFile::at(&folder.join("bucle/history")))
    }

    fn at(path: &Path) -> HistoryFile {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                log::info!(target: "bucle::connect", "the history {} is not used: {error}", path.display());
                return HistoryFile::default();
            }
        };
        HistoryFile { path: Some(path.to_owned()), text, last: String::new() }
    }

    /// The lines of earlier sessions, the oldest first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        // Another program may have written anything.
        self.text.lines().filter(|line| line.chars().all(|c| c == '\t' || !c.is_control()))
    }

    /// Adds a line that was sent. Lines that begin with a blank and repetitions are not kept.
    pub(super) fn append(&mut self, line: &str) {
        let Some(path) = &self.path else { return };
        if line.starts_with(char::is_whitespace) || line.is_empty() || line == self.last {
            return;
        }
        line.clone_into(&mut self.last);
        if let Err(error) = append_to(path, line) {
            log::info!(target: "bucle::connect", "the history {} is not written: {error}", path.display());
            self.path = None;
        }
    }
}

/// `XDG_STATE_HOME` counts only if it is an absolute path.
fn state_folder(state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let home = || home.filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
    state.filter(|state| state.is_absolute()).or_else(home)
}

/// The last lines of the file. A file that is too long is replaced by them.
fn read(path: &Path) -> io::Result<String> {
    // Before it is opened: that could block for a pipe.
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = File::open(path)?;
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    let from = meta.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    if from > 0 {
        // The first line is cut.
        let start = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..start);
    }
    if meta.len() > 2 * MOST_BYTES {
        replace(path, &bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Replaces the file itself, also if `path` is a symbolic link to it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &fs::canonicalize(path)?;
    let new = path.with_extension(process::id().to_string());
    let written = private().write(true).create_new(true).open(&new).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

fn append_to(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = private().append(true).create(true).read(true).open(path)?;
    // Another session may have found the disk full in the middle of a line.
    let begin = if ends_with_a_whole_line(&file)? { "" } else { "\n" };
    file.write_all(format!("{begin}{line}\n").as_bytes())
}

fn ends_with_a_whole_line(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let mut last = [b'\n'];
    if len > 0 {
        // Another session may have replaced the file by a shorter one meanwhile: then nothing is read.
        let _ = file.read_at(&mut last, len - 1)?;
    }
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, which is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = env::temp_dir().join(format!("bucle-history-{name}-{}", process::id()));
            let _ = fs::remove_dir_all(&folder);
            Folder(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("bucle/history")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn lines(file: &Path) -> Vec<String> {
        HistoryFile::at(file).lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_come_back_and_only_the_owner_can_read_them() {
        let folder = Folder::new("lines");
        let mut history = HistoryFile::at(&folder.file());
        for line in ["one", "two", "two", " hidden", "", "ñandú\tx"] {
            history.append(line);
        }
        assert_eq!(lines(&folder.file()), ["one", "two", "ñandú\tx"]);
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder.file()), mode(&folder.0.join("bucle"))), (0o600, 0o700));
        fs::set_permissions(folder.file(), Permissions::from_mode(0o644)).expect("it is ours");
        assert_eq!(lines(&folder.file()).len(), 3);
        assert_eq!(mode(&folder.file()), 0o600);
    }

    #[test]
    fn two_sessions_do_not_lose_lines() {
        let folder = Folder::new("two");
        let (mut one, mut two) = (HistoryFile::at(&folder.file()), HistoryFile::at(&folder.file()));
        for number in 0..10 {
            one.append(&format!("one {number}"));
            two.append(&format!("two {number}"));
        }
        assert_eq!(lines(&folder.file()).len(), 20);
    }

    #[test]
    fn a_long_file_is_replaced_by_its_last_lines() {
        let folder = Folder::new("long");
        let mut history = HistoryFile::at(&folder.file());
        history.append("first");
        let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        fs::write(folder.file(), &text).expect("it is ours");
        let last = lines(&folder.file());
        assert_eq!(last.last().map(String::as_str), Some("line 19999"));
        assert!(last.iter().all(|line| text.contains(&format!("{line}\n"))), "no line is cut");
        let len = fs::metadata(folder.file()).expect("it is there").len();
        assert!(len <= MOST_BYTES && len > MOST_BYTES - 100, "{len}");
        assert_eq!(fs::read_dir(folder.0.join("bucle")).expect("it is there").count(), 1);
    }

    #[test]
    fn a_symbolic_link_to_the_file_stays() {
        let folder = Folder::new("link");
        let target = folder.0.join("dotfiles");
        let mut history = HistoryFile::at(&folder.file());
        history.append("first");
        fs::remove_file(folder.file()).expect("it is ours");
        std::os::unix::fs::symlink(&target, folder.file()).expect("the name is free");
        fs::write(&target, "line\n".repeat(50_000)).expect("it is ours");
        assert!(!lines(&folder.file()).is_empty());
        assert!(folder.file().is_symlink());
        assert!(fs::metadata(&target).expect("it is there").len() <= MOST_BYTES);
    }

    #[test]
    fn a_line_after_one_that_is_cut_begins_anew() {
        let folder = Folder::new("cut");
        let mut history = HistoryFile::at(&folder.file());
        history.append("one");
        fs::write(folder.file(), "one\nhal").expect("it is ours");
        history.append("two");
        history.append("three");
        assert_eq!(lines(&folder.file()), ["one", "hal", "two", "three"]);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_no_error() {
        let folder = Folder::new("bad");
        fs::create_dir_all(folder.file()).expect("a folder in place of the file");
        let mut history = HistoryFile::at(&folder.file());
        history.append("one");
        assert_eq!((history.lines().count(), history.path), (0, None));
        fs::remove_dir(folder.file()).expect("it is empty");
        // A pipe without a writer: opening it would block.
        let made = process::Command::new("mkfifo").arg(folder.file()).status().expect("mkfifo is there");
        assert!(made.success());
        assert_eq!(HistoryFile::at(&folder.file()).path, None);
        fs::remove_file(folder.file()).expect("it is ours");
        // Another program has written control characters and bytes that are not text.
        fs::write(folder.file(), b"a\nb\x1b[2J\nc\xff\n").expect("it is ours");
        assert_eq!(lines(&folder.file()), ["a", "c\u{fffd}"]);
    }

    #[test]
    fn only_absolute_paths_are_used() {
        let folder =
            |state: Option<&str>, home: Option<&str>| state_folder(state.map(Into::into), home.map(Into::into));
        assert_eq!(folder(Some("/s"), Some("/home/ana")), Some("/s".into()));
        assert_eq!(folder(Some("s"), Some("/home/ana")), Some("/home/ana/.local/state".into()));
        assert_eq!(folder(None, Some("")), None);
        assert_eq!(folder(None, None), None);
    }
}
