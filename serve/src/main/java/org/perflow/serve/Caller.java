package org.perflow.serve;

import org.jspecify.annotations.Nullable;

/**
 * Who asks for a job, and how the same request is known again. Jobs of one client are never joined
 * to, nor cancelled by, another.
 *
 * @param client the key's or address's own name
 * @param key that the client gave to this request, so that a repetition is not drawn twice; null
 *     where it gave none
 * @param fingerprint of the request's content: a repetition without a key is known by it, as long
 *     as nobody waits for the job any more
 * @param waits whether the job is of no use once nobody waits for it
 */
public record Caller(String client, @Nullable String key, String fingerprint, boolean waits) {}
