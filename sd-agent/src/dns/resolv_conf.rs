//! Pure: `/etc/resolv.conf`, read as Thanos' resolver reads it (miekg/dns, `ClientConfigFromReader` and `NameList`).
//!
//! Timeout and attempts are left out on purpose: that resolver does not use them either.

use std::net::IpAddr;

/// Which servers are asked, and for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// In the order in which they are asked.
    pub servers: Vec<IpAddr>,
    search: Vec<String>,
    /// A name with as many dots is first asked for as it stands.
    dots: usize,
}

// === impl ResolvConf ===

impl ResolvConf {
    /// Reads the text of the file; what is not understood is skipped.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self { servers: vec![], search: vec![], dots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    conf.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                Some("domain") => conf.search = words.take(1).map(ToOwned::to_owned).collect(),
                Some("search") => conf.search = words.map(ToOwned::to_owned).collect(),
                Some("options") => {
                    let dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    conf.dots = dots.map_or(conf.dots, |dots: usize| dots.min(15));
                }
                _ => {}
            }
        }
        conf
    }

    /// The names to ask for when `name` is looked up, in this order, each with a dot at its end.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        let below = self.search.iter().map(|suffix| format!("{name}.{}.", suffix.trim_matches('.')));
        let below = below.map(|name| name.replace("..", "."));
        if name.matches('.').count() >= self.dots {
            std::iter::once(whole).chain(below).collect()
        } else {
            below.chain([whole]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the kubelet writes it.
    const FILE: &str = "search demo.svc.cluster.local svc.cluster.local .\nnameserver 10.96.0.10\n\
                        nameserver fe80::1%eth0\nnameserver fd00::10\noptions ndots:2 edns0\nnonsense\n";

    #[test]
    fn servers_are_read_in_their_order_and_what_is_none_is_skipped() {
        let conf = ResolvConf::parse(FILE);
        assert_eq!(
            conf.servers,
            ["10.96.0.10", "fd00::10"].map(|text| text.parse::<IpAddr>().expect("an address"))
        );
        assert_eq!(ResolvConf::parse("").servers, [] as [IpAddr; 0]);
    }

    #[test]
    fn a_name_with_enough_dots_is_asked_for_as_it_stands_first() {
        let conf = ResolvConf::parse(FILE);
        assert_eq!(
            conf.candidates("a.demo.svc"),
            [
                "a.demo.svc.",
                "a.demo.svc.demo.svc.cluster.local.",
                "a.demo.svc.svc.cluster.local.",
                "a.demo.svc."
            ]
        );
        assert_eq!(
            conf.candidates("a.demo"),
            ["a.demo.demo.svc.cluster.local.", "a.demo.svc.cluster.local.", "a.demo.", "a.demo."]
        );
        assert_eq!(conf.candidates("a."), ["a."]);
    }
}
