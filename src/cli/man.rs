//! `bucle man`: manual pages, made from the options by `clap_mangen`, with sections of our own (`man/sections.rs`).
//!
//! ```text
//!   clap::Command ─▶ NAME  SYNOPSIS  ARGUMENTS  OPTIONS       ┐
//!   its after_help ─▶ DESCRIPTION  EXAMPLES                   ├─▶ bucle.1  bucle-serve.1  …
//!   sections ─▶ SIGNALS  SYSTEMD  ENVIRONMENT  EXIT STATUS    ┘
//! ```

mod sections;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, value_parser};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use bucle::process;

use super::advice::words_for_file;
use super::exit_code;
use super::stderr::print_error;
use super::usage::Usage;
use sections::{Block, Section};

/// The options of the subcommand.
pub(crate) fn command() -> clap::Command {
    clap::Command::new("man")
        .about("Writes the manual pages into a folder")
        .arg(
            Arg::new("folder")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The folder; it is made if it does not exist"),
        )
        .after_help(
            "Examples:\n  bucle man ~/.local/share/man/man1      (then  man bucle-serve)\n  bucle man /tmp/man && man -l /tmp/man/bucle-load.1",
        )
}

pub(crate) fn folder_of(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default()
}

/// Writes a page for `command` and one for each of its subcommands, and prints their paths.
pub(crate) fn write_pages(command: &clap::Command, folder: &Path) -> ExitCode {
    if let Err(error) = fs::create_dir_all(folder) {
        let why = format!("cannot make the folder {}: {}", folder.display(), words_for_file(&error));
        return Usage::new(why, "bucle man ~/.local/share/man/man1").report();
    }
    let written = pages(command).and_then(|pages| {
        let mut paths = String::new();
        for (name, page) in pages {
            let path = folder.join(name);
            fs::write(&path, page)?;
            paths += &format!("{}\n", path.display());
        }
        Ok(paths)
    });
    match written {
        Ok(paths) => {
            // The pages are written, even if their paths are not read.
            let _ = process::write_stdout(paths.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let why = words_for_file(&error);
            print_error(&format!("cannot write the manual pages into {}: {why}", folder.display()), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// The pages, with the names of their files.
fn pages(command: &clap::Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![("bucle.1".to_owned(), page(&command)?)];
    for subcommand in command.get_subcommands() {
        pages.push((format!("bucle-{}.1", subcommand.get_name()), page(subcommand)?));
    }
    Ok(pages)
}

/// Renders one page.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut command = with_headings(command.clone());
    let named = command.clone().about(short_about(&command));
    // A page without a date would show its source in the place of the date.
    let man = Man::new(named).date(" ").source(format!("bucle {}", env!("CARGO_PKG_VERSION"))).manual("bucle");
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = help.split_once("Examples:\n").unwrap_or((&help, ""));
    let sections = sections::of(command.get_name());
    let (see_also, sections) = sections.split_last().expect("each page has at least the last section");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    // Words are not split and lines are not stretched: the reader may search for a word.
    Roff::new().control("nh", []).control("ad", ["l"]).to_writer(&mut page)?;
    man.render_name_section(&mut page)?;
    render_synopsis(&mut command, &mut page)?;
    render_description(&command, notes, &mut page)?;
    if command.has_subcommands() {
        render_subcommands(&command, &mut page)?;
    }
    man.render_options_section(&mut page)?;
    for section in sections {
        render(section, &mut page)?;
    }
    if !examples.is_empty() {
        render(&Section { title: "EXAMPLES", blocks: vec![Block::Code(examples.to_owned())] }, &mut page)?;
    }
    render(see_also, &mut page)?;
    Ok(page)
}

fn about(command: &clap::Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// What `whatis` and `apropos` show: the first clause of the description.
fn short_about(command: &clap::Command) -> String {
    let about = about(command);
    let end = [" (", ";"].iter().filter_map(|sign| about.find(sign)).min().unwrap_or(about.len());
    about[..end].to_owned()
}

/// Gives arguments and options sections of their own, in this order. A page describes also what the short help leaves
/// out, which `clap_mangen` would list without its text.
fn with_headings(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let arg = arg.hide_short_help(false);
        match arg.get_help_heading() {
            Some(_) => arg,
            None if arg.is_positional() => arg.help_heading("Arguments"),
            None => arg.help_heading("Options"),
        }
    })
}

/// The usage as in `--help`. The synopsis of `clap_mangen` lists every option, which fills the screen.
fn render_synopsis(command: &mut clap::Command, page: &mut dyn Write) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim_end().to_owned();
    let words = usage.find(['[', '<']).unwrap_or(usage.len());
    let (name, rest) = usage.split_at(words);
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([bold(name.trim_end()), roman(format!(" {rest}"))]);
    roff.to_writer(page)
}

/// What the command is for, and the notes of its help.
fn render_description(command: &clap::Command, notes: &str, page: &mut dyn Write) -> io::Result<()> {
    let mut blocks = vec![Block::Text(format!("{}.", about(command)))];
    blocks.extend(sections::description(command.get_name()).into_iter().map(|text| Block::Text(text.to_owned())));
    blocks.extend(paragraphs(notes));
    render(&Section { title: "DESCRIPTION", blocks }, page)
}

fn render_subcommands(command: &clap::Command, page: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for subcommand in command.get_subcommands() {
        roff.control("TP", []).text([bold(subcommand.get_name())]);
        roff.text([roman(format!("{}. See ", about(subcommand)))]);
        roff.control("BR", [&*format!("bucle-{}", subcommand.get_name()), "(1)."]);
    }
    roff.to_writer(page)
}

fn render(section: &Section, page: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [section.title]);
    for block in &section.blocks {
        match block {
            Block::Text(text) => {
                roff.control("PP", []).text([roman(text)]);
            }
            Block::Term(term, text) => {
                roff.control("TP", []).text([bold(*term)]).text([roman(*text)]);
            }
            Block::Code(text) => {
                roff.control("PP", []).control("nf", []);
                for line in text.lines() {
                    roff.text([roman(line.trim_start())]);
                }
                roff.control("fi", []);
            }
        }
    }
    roff.to_writer(page)
}

/// The paragraphs of a text, which are separated by blank lines. Their lines are joined, because the reader's terminal
/// has another width.
fn paragraphs(text: &str) -> Vec<Block> {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.filter(|paragraph| !paragraph.is_empty()).map(Block::Text).collect()
}
