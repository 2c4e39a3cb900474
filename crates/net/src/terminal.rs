//! What a person types that nobody else shall see.

use std::io::{self, BufRead, Write};

use rustix::termios::{self, LocalModes, OptionalActions};

/// Reads a line from the standard input. At a terminal it asks first, and what is typed does not show.
///
/// # Errors
/// The input ends without a line, or cannot be read.
pub fn ask_secretly(question: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let Ok(before) = termios::tcgetattr(&stdin) else { return line() };
    eprint!("{question}");
    io::stderr().flush()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let typed = line();
    _ = termios::tcsetattr(&stdin, OptionalActions::Flush, &before);
    eprintln!();
    typed
}

/// Whether the standard input is a terminal.
pub fn is_terminal() -> bool {
    termios::isatty(io::stdin())
}

fn line() -> io::Result<String> {
    let mut text = String::new();
    if io::stdin().lock().read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
