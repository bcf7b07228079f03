package org.perflow.io;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A picture with its caption, out of a shard.
 *
 * @param shard file name of the tar it was read from, for messages; empty where it has none yet
 * @param key name inside the shard, without an ending
 * @param picture the encoded file: PNG, JPEG or WebP
 * @param caption what it shows
 * @param json anything else; an empty object where nothing is stored
 */
@SuppressWarnings("ArrayRecordComponent") // samples are passed on, never compared
public record Sample(String shard, String key, byte[] picture, String caption, JsonNode json) {}
