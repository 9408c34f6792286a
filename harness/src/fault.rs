//! What stops the program before it has an answer: a message that names the thing and what to do, and an exit code.

use anstream::eprint;
use anstyle::{AnsiColor, Style};

use crate::text::Page;

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Fault {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Fault {
    /// The user asked for what cannot be: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into(), hint: None }
    }

    /// We broke, or the machine did not let us: exit code 3.
    pub(crate) fn ours(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into(), hint: None }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn print(&self) {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let page = Page::stderr();
        eprint!("{}", page.wrap(&format!("{red}error{red:#}: "), 2, &self.message));
        if let Some(hint) = &self.hint {
            eprint!("{}", page.wrap("  hint: ", 8, hint));
        }
    }
}
