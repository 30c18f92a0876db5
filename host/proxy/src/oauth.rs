//! OAuth metadata rewritten to the gateway's public URL.
