//! Messages as events of Socket.IO, without sockets.

use bucle::websocket::frame::Opcode;

use super::options::SocketIo;
use super::websocket::put_frame;
use crate::cli::socket_io;

/// The buffers in which an event is put together, kept for their capacity.
#[derive(Default)]
pub(crate) struct PacketBuffer {
    text: Vec<u8>,
    packet: String,
}

impl PacketBuffer {
    /// Appends a frame with an event to `out`. `write` appends the text of its argument, which is UTF-8.
    pub(crate) fn put_event(
        &mut self,
        out: &mut Vec<u8>,
        socket_io: &SocketIo,
        mask: [u8; 4],
        acknowledged: Option<u64>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let PacketBuffer { text, packet } = self;
        text.clear();
        write(text);
        packet.clear();
        // The options are checked, so nothing is replaced here.
        let text = String::from_utf8_lossy(text);
        socket_io::push_event(packet, &socket_io.namespace, acknowledged, &socket_io.event, &text);
        put_frame(out, Opcode::Text, mask, packet.len(), |out| out.extend_from_slice(packet.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_event_in_one_masked_frame() {
        let socket_io = SocketIo { namespace: "/a".to_owned(), auth: None, event: "echo".to_owned() };
        let mut buffer = PacketBuffer::default();
        for (acknowledged, want) in [(Some(7), r#"42/a,7["echo","\"é"]"#), (None, r#"42/a,["echo","\"é"]"#)] {
            let mut out = b"before".to_vec();
            buffer.put_event(&mut out, &socket_io, [0; 4], acknowledged, |text| text.extend("\"é".as_bytes()));
            assert_eq!(out, [b"before\x81", &[0x80 | want.len() as u8][..], &[0; 4], want.as_bytes()].concat());
        }
    }
}
