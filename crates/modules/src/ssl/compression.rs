//! `ssl_certificate_compression`: certificates sent small to clients that can read them so (RFC 8879).

use std::io::Write;

use flate2::write::ZlibEncoder;
use rustls::CertificateCompressionAlgorithm as Algorithm;
use rustls::compress::{CertCompressor, CompressionFailed, CompressionLevel};

/// Best first. What is compressed is kept, and so may cost some time.
pub(super) const ALL: [&'static dyn CertCompressor; 3] = [&Brotli, &Zstd, &Zlib];

const BROTLI_QUALITY: i32 = 11;
const ZSTD_LEVEL: i32 = 19;

#[derive(Debug)]
struct Brotli;

impl CertCompressor for Brotli {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let params = brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, ..Default::default() };
        let mut out = Vec::new();
        let done = brotli::BrotliCompress(&mut &input[..], &mut out, &params);
        done.map(|_| out).map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::Brotli
    }
}

#[derive(Debug)]
struct Zstd;

impl CertCompressor for Zstd {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        zstd::bulk::compress(&input, ZSTD_LEVEL).map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::Zstd
    }
}

#[derive(Debug)]
struct Zlib;

impl CertCompressor for Zlib {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&input).map_err(|_| CompressionFailed)?;
        encoder.finish().map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::Zlib
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use foregate_net::tls::verify::AnyServer;
    use foregate_net::tls::{certs, provider};
    use foregate_testkit::Certificate;
    use rustls::compress::{CertDecompressor, DecompressionFailed};
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    #[derive(Debug)]
    struct Reader(Algorithm);

    impl CertDecompressor for Reader {
        fn decompress(&self, mut input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
            let mut out = Vec::new();
            match self.0 {
                Algorithm::Brotli => brotli::BrotliDecompress(&mut input, &mut out).map_err(drop),
                Algorithm::Zstd => zstd::bulk::decompress(input, output.len()).map(|it| out = it).map_err(drop),
                _ => flate2::read::ZlibDecoder::new(input).read_to_end(&mut out).map(drop).map_err(drop),
            }
            .map_err(|()| DecompressionFailed)?;
            if out.len() != output.len() {
                return Err(DecompressionFailed);
            }
            output.copy_from_slice(&out);
            Ok(())
        }

        fn algorithm(&self) -> Algorithm {
            self.0
        }
    }

    /// Bytes that the server sends in a handshake with a client that reads this.
    fn handshake_bytes(reader: Option<&'static dyn CertDecompressor>) -> usize {
        let names: Vec<String> = (0..200).map(|n| format!("name-{n}.example.com")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let own = Certificate::self_signed(&names);
        let own = certs::certified(own.cert_pem.as_bytes(), own.key_pem.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(provider().clone());
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut server =
            server.with_cert_resolver(Arc::new(certs::Certificates::new(vec![Arc::new(own)])));
        server.cert_compressors = ALL.to_vec();
        let client = ClientConfig::builder_with_provider(provider().clone());
        let client = client.with_safe_default_protocol_versions().unwrap().dangerous();
        let mut client = client.with_custom_certificate_verifier(Arc::new(AnyServer)).with_no_client_auth();
        client.cert_decompressors = reader.into_iter().collect();
        let mut client = ClientConnection::new(Arc::new(client), "a.test".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let mut n_sent = 0;
        while client.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut there = &there[..];
            while !there.is_empty() {
                server.read_tls(&mut there).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            n_sent += back.len();
            let mut back = &back[..];
            while !back.is_empty() {
                client.read_tls(&mut back).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        n_sent
    }

    #[test]
    fn clients_that_can_read_it_get_a_small_certificate() {
        let plain = handshake_bytes(None);
        let readers: [&'static dyn CertDecompressor; 3] =
            [&Reader(Algorithm::Brotli), &Reader(Algorithm::Zstd), &Reader(Algorithm::Zlib)];
        for reader in readers {
            let small = handshake_bytes(Some(reader));
            assert!(small * 2 < plain, "{reader:?}: {small} of {plain}");
        }
    }
}
