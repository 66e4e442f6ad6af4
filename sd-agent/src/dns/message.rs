//! Pure: questions and answers of DNS, as far as look-ups of endpoints need them.

use domain::{
    base::{
        Message, MessageBuilder, Name, ParsedName, Rtype,
        iana::{Opcode, Rcode},
    },
    rdata::{Cname, Srv},
};

/// The longest answer that is taken over UDP, as Thanos asks for it.
pub const UDP_LIMIT: u16 = 4096;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services.
    Srv,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    id: u16,
    name: Name<Vec<u8>>,
    kind: Kind,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name exists.
    Records(Records),
    /// The name does not exist.
    NoSuchName,
    /// It does not fit and has to be asked for over TCP.
    Truncated,
    /// An error, by its name: SERVFAIL, REFUSED, ….
    Error(String),
}

/// Records of the kind that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// How many, aliases included.
    pub count: usize,
    /// Names that the name stands for: they are looked up, too.
    pub aliases: Vec<String>,
    /// Hosts of a service.
    pub targets: Vec<String>,
}

/// What came is no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It belongs to another question, or to nobody.
    #[error("an answer to another question")]
    Foreign,
    /// It cannot be read.
    #[error("an answer that cannot be read")]
    Damaged,
}

// === impl Question ===

impl Question {
    /// Asks for `name`, which is absolute; none when that is no name.
    pub fn new(id: u16, name: &str, kind: Kind) -> Option<Self> {
        Some(Self { id, name: name.parse().ok()?, kind })
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(self.id);
        message.header_mut().set_rd(true);
        let mut message = message.question();
        message.push((&self.name, self.kind.rtype())).ok()?;
        let mut message = message.additional();
        message
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_LIMIT);
                Ok(())
            })
            .ok()?;
        Some(message.finish())
    }

    /// Reads what came for it.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn read(&self, bytes: &[u8]) -> Result<Answer, NoAnswer> {
        let message = Message::from_octets(bytes).map_err(|_| NoAnswer::Damaged)?;
        let header = message.header();
        if header.id() != self.id || !header.qr() || header.opcode() != Opcode::QUERY {
            return Err(NoAnswer::Foreign);
        }
        // Some servers leave the question out of an error.
        let asked = message.first_question();
        if asked.is_some_and(|asked| asked.qname() != &self.name || asked.qtype() != self.kind.rtype()) {
            return Err(NoAnswer::Foreign);
        }
        match header.rcode() {
            _ if header.tc() => Ok(Answer::Truncated),
            Rcode::NOERROR => self.records(&message).map(Answer::Records).ok_or(NoAnswer::Damaged),
            Rcode::NXDOMAIN => Ok(Answer::NoSuchName),
            other => Ok(Answer::Error(other.to_string())),
        }
    }

    fn records(&self, message: &Message<&[u8]>) -> Option<Records> {
        type Parsed<'a> = ParsedName<&'a [u8]>;
        let mut records = Records::default();
        for record in message.answer().ok()? {
            let record = record.ok()?;
            match (record.rtype(), self.kind) {
                (Rtype::CNAME, _) => {
                    let alias = record.to_record::<Cname<Parsed<'_>>>().ok()??;
                    records.aliases.push(absolute(alias.data().cname()));
                }
                (Rtype::SRV, Kind::Srv) => {
                    let service = record.to_record::<Srv<Parsed<'_>>>().ok()??;
                    records.targets.push(absolute(service.data().target()));
                }
                (Rtype::A, Kind::A) | (Rtype::AAAA, Kind::Aaaa) => {}
                _ => continue,
            }
            records.count += 1;
        }
        Some(records)
    }
}

fn absolute(name: &impl std::fmt::Display) -> String {
    let name = name.to_string();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

// === impl Kind ===

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::rdata::A;

    use super::*;

    /// The answer of a server that knows the name.
    fn answer(
        question: &Question,
        fill: impl FnOnce(&mut domain::base::message_builder::AnswerBuilder<Vec<u8>>),
    ) -> Vec<u8> {
        let bytes = question.to_bytes().expect("a question");
        let asked = Message::from_octets(bytes.as_slice()).expect("a message");
        let mut answer = MessageBuilder::new_vec().start_answer(&asked, Rcode::NOERROR).expect("room");
        fill(&mut answer);
        answer.finish()
    }

    fn name(text: &str) -> Name<Vec<u8>> {
        text.parse().expect("a name")
    }

    #[test]
    fn aliases_and_hosts_are_read() {
        let question = Question::new(7, "_grpc._tcp.a.", Kind::Srv).expect("a name");
        let bytes = answer(&question, |answer| {
            answer.push((name("_grpc._tcp.a."), 1, Cname::new(name("b.")))).expect("room");
            answer.push((name("b."), 1, Srv::new(0, 0, 10901, name("pod-0.b.")))).expect("room");
        });
        let records = Records { count: 2, aliases: vec!["b.".into()], targets: vec!["pod-0.b.".into()] };
        assert_eq!(question.read(&bytes), Ok(Answer::Records(records)));
    }

    #[test]
    fn what_was_not_asked_for_is_no_answer() {
        let question = Question::new(7, "a.", Kind::A).expect("a name");
        let bytes = answer(&question, |_| {});
        assert_eq!(question.read(&bytes), Ok(Answer::Records(Records::default())));
        for other in [("a.", 8, Kind::A), ("b.", 7, Kind::A), ("a.", 7, Kind::Srv)] {
            let other = Question::new(other.1, other.0, other.2).expect("a name");
            assert_eq!(other.read(&bytes), Err(NoAnswer::Foreign));
        }
        assert_eq!(question.read(&question.to_bytes().expect("a question")), Err(NoAnswer::Foreign));
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_damaged_and_no_reason_to_panic() {
        let question = Question::new(7, "a.b.", Kind::A).expect("a name");
        let bytes = answer(&question, |answer| {
            answer.push((name("a.b."), 1, A::from_octets(10, 0, 0, 1))).expect("room");
        });
        for length in 0..bytes.len() {
            assert!(question.read(&bytes[..length]).is_err(), "{length} bytes were taken");
        }
    }
}
