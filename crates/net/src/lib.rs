//! stub
mod addr;
pub use addr::Addr;
pub mod tls {
    #[derive(Clone)]
    pub struct Facts;
}
pub struct Conn;
pub mod sys {
    pub fn errno_text(e: &std::io::Error) -> String {
        e.to_string()
    }
}
