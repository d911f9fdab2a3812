//! A request made from bytes: the same bytes make the same request, so a fuzzer, a property test and a corpus can share
//! them. Written in the forms that clients use, and in those that tell canonicalisations apart.

/// A request without its signature.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: &'static str,
    /// As it is sent.
    pub(crate) path: String,
    /// Names and values as they are meant, and whether blanks are sent as `+`.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) plus: bool,
    /// Lower-case names, in the order sent. No name of the signature is among them.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) token: Option<String>,
    pub(crate) presigned: bool,
}

impl Exchange {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices(bytes);
        let presigned = choices.next() % 3 == 0;
        let method = if presigned { "GET" } else { "POST" };
        let segments =
            ["000000000000", "q", "a b", "%20", "é", "..", ".", "", "a~b-c_d.e", "%2F", "a+b", "*"];
        let mut path = String::new();
        for _ in 0..choices.next() % 4 {
            path.push('/');
            path.push_str(&sent(choices.pick(&segments)));
        }
        if path.is_empty() || choices.next() % 4 == 0 {
            path.push('/');
        }
        let names = ["Action", "Version", "a", "A", "a b", "é", "~", "x=y", "&", "%", "", "+"];
        let values = ["", "SendMessage", "a b+c", "é~*/", "&=;", "%41", "x y  z", "\u{1f600}", "'()!"];
        let mut query = Vec::new();
        for _ in 0..choices.next() % 4 {
            query.push((choices.pick(&names).to_owned(), choices.pick(&values).to_owned()));
        }
        let mut headers = vec![("host", choices.pick(&["broker", "broker:9324", "[::1]:9324"]).to_owned())];
        let known = ["x-amz-target", "x-amzn-query-mode", "content-type", "user-agent", "x-custom"];
        let texts = ["", "a", "  a  ", "a   b", "a \t b", "\"a  b\"", "AmazonSQS.SendMessage", "a,b"];
        for name in known {
            if choices.next() % 3 == 0 {
                headers.push((name, choices.pick(&texts).to_owned()));
            }
        }
        // Headers that are not of the signature may come more than once.
        for _ in 0..choices.next() % 3 {
            headers.push(("x-custom", choices.pick(&texts).to_owned()));
        }
        let token = (choices.next() % 3 == 0).then(|| "TOKEN/with+chars==".to_owned());
        let plus = choices.next() % 2 == 0;
        let body = if presigned { Vec::new() } else { choices.0.to_vec() };
        Self { method, path, query, plus, headers, body, token, presigned }
    }
}

/// Percent-encoded where a request line needs it; what is encoded already stays as it is.
fn sent(segment: &str) -> String {
    let mut out = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Bytes as choices; where they end, the first choice is made.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }
}
