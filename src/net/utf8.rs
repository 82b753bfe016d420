//! UTF-8 across packets: the WHATWG decoder, cut anywhere.
