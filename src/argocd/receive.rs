//! What a client sends: first who asks, then an archive in chunks.
//!
//! Invariant: what is refused is read to its end nevertheless, as the repo-server tells only that it could not send it if
//! it is answered before.

use sha2::{Digest, Sha256};
use tonic::Streaming;

use super::error::AppError;
use super::message::{AppStreamRequest, ManifestRequestMetadata, Part};
use crate::shares::Held;

/// What a client sent.
pub(super) struct Received {
    pub metadata: ManifestRequestMetadata,
    /// The archive, as it is compressed.
    pub archive: Vec<u8>,
    /// The memory of the archive, and of what is unpacked of it: who holds the last of it asks for more of it alone.
    pub held: Held,
}

/// Receives who asks.
pub(super) async fn receive_metadata(
    stream: &mut Streaming<AppStreamRequest>,
    max: u64,
) -> Result<ManifestRequestMetadata, AppError> {
    let received = match next(stream).await {
        Ok(Some(Part::Metadata(metadata))) if u64::try_from(metadata.size).is_ok_and(|size| size > max) => {
            Err(AppError::ArchiveSize(max))
        }
        Ok(Some(Part::Metadata(metadata))) => Ok(metadata),
        Ok(_) => Err(AppError::Protocol("the first message has to be the metadata of the request")),
        Err(error) => Err(error),
    };
    refused(stream, received).await
}

/// Receives an archive of at most as many bytes, as there is memory for it.
pub(super) async fn receive(
    stream: &mut Streaming<AppStreamRequest>,
    metadata: ManifestRequestMetadata,
    max: u64,
    held: Held,
) -> Result<Received, AppError> {
    let received = collect(stream, metadata, max, held).await;
    refused(stream, received).await
}

/// Reads to its end what is refused: that it breaks off says less than why it was.
async fn refused<T>(
    stream: &mut Streaming<AppStreamRequest>,
    received: Result<T, AppError>,
) -> Result<T, AppError> {
    if received.is_err() {
        drain(stream).await.unwrap_or(());
    }
    received
}

/// Reads what a client sends, and keeps nothing of it.
pub(super) async fn drain(stream: &mut Streaming<AppStreamRequest>) -> Result<(), AppError> {
    while next(stream).await?.is_some() {}
    Ok(())
}

async fn collect(
    stream: &mut Streaming<AppStreamRequest>,
    metadata: ManifestRequestMetadata,
    max: u64,
    mut held: Held,
) -> Result<Received, AppError> {
    let (mut archive, mut hash) = (Vec::new(), Sha256::new());
    while let Some(part) = next(stream).await? {
        let Part::File(file) = part else {
            return Err(AppError::Protocol("there is metadata once, before the archive"));
        };
        if (archive.len() + file.chunk.len()) as u64 > max {
            return Err(AppError::ArchiveSize(max));
        }
        held.grow(file.chunk.len() as u64).await;
        hash.update(&file.chunk);
        archive.extend_from_slice(&file.chunk);
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if digits == metadata.checksum {
        Ok(Received { metadata, archive, held })
    } else {
        Err(AppError::Checksum)
    }
}

/// Returns what is next, `None` at the end.
async fn next(stream: &mut Streaming<AppStreamRequest>) -> Result<Option<Part>, AppError> {
    loop {
        match stream.message().await {
            Ok(None) => return Ok(None),
            Ok(Some(AppStreamRequest { part: Some(part) })) => return Ok(Some(part)),
            // What is of a later version.
            Ok(Some(AppStreamRequest { part: None })) => {}
            Err(status) if status.code() == tonic::Code::OutOfRange => {
                return Err(AppError::Protocol(
                    "a message is larger than what is taken; --max-message raises it",
                ));
            }
            Err(_) => {
                return Err(AppError::Protocol(
                    "what is sent broke off, or is no message of the repo-server",
                ));
            }
        }
    }
}
