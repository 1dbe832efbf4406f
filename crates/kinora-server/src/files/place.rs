//! Opens a bucket.

use std::sync::{Arc, Once};

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;

use crate::{Error, Result};

/// The bucket of `s3://bucket/prefix`, with everything else from the environment.
///
/// **Errors**: [`Error::Setting`].
pub(super) fn bucket(url: &str) -> Result<Arc<dyn ObjectStore>> {
    install_crypto();
    let refused = |problem: String| {
        Error::Setting {
        what: "--files",
        problem,
        hint: "s3://bucket/prefix, with credentials and endpoint in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and \
               AWS_ENDPOINT (AWS_ALLOW_HTTP=true for one without encryption)"
            .into(),
    }
    };
    let (name, prefix) = url
        .strip_prefix("s3://")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| refused(format!("{url:?} names no bucket")))?;
    let bucket = AmazonS3Builder::from_env()
        .with_bucket_name(name)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() {
        return Ok(Arc::new(bucket));
    }
    let prefix = object_store::path::Path::parse(prefix).map_err(|error| refused(error.to_string()))?;
    Ok(Arc::new(PrefixStore::new(bucket, prefix)))
}

/// Makes ring the cryptography of this process, once. Everything that speaks TLS calls this first.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    // It fails only if there is one already, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
