//! Sources as keys are made from them.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Operation};
use crate::key::{self, EmptySource};

/// The path of a source, made absolute by text alone. Reads the working directory only if it is relative.
pub fn absolute(source: &Path) -> Result<Cow<'_, [u8]>, Error> {
    let bytes = source.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(Error::new(Operation::ComputeKey, source, EmptySource));
    }
    key::absolute(bytes, || key::working_dir(std::env::var_os("PWD").as_deref()))
        .map_err(|error| Error::new(Operation::MakeAbsolute, source, error))
}
