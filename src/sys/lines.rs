//! Reads untrusted text line by line, in bounded memory.

use std::io::{self, BufRead, Read};

/// A line, or the mark of one that was too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// With its line feed, if any.
    Whole(&'a [u8]),
    /// Skipped. No part of it is returned: the tail of `# … seg-9.m4s` would look like a segment's line.
    TooLong,
}

/// Reads a text line by line, and holds no more than `longest` bytes of it.
pub(crate) struct Lines<R> {
    text: R,
    longest: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(text: R, longest: u64) -> Self {
        Self { text, longest, line: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        if self.text.by_ref().take(self.longest).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.ends_with(b"\n") || self.is_last()? {
            return Ok(Some(Line::Whole(&self.line)));
        }
        self.text.skip_until(b'\n')?;
        Ok(Some(Line::TooLong))
    }

    fn is_last(&mut self) -> io::Result<bool> {
        Ok((self.line.len() as u64) < self.longest || self.text.fill_buf()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8], longest: u64) -> Vec<Option<Vec<u8>>> {
        // The smallest buffer, so that its bounds do not hide mistakes at the bounds of lines.
        let mut lines = Lines::new(io::BufReader::with_capacity(1, text), longest);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        read
    }

    proptest! {
        #[test]
        fn every_line_is_whole_or_skipped(text in "[ab\n]{0,40}", longest in 1_u64..8) {
            let expected: Vec<_> = text
                .split_inclusive('\n')
                .map(|line| (line.len() as u64 <= longest).then(|| line.as_bytes().to_vec()))
                .collect();
            prop_assert_eq!(lines(text.as_bytes(), longest), expected);
        }
    }
}
