/**
 * Models by their names on the hub, such as {@code stabilityai/sdxl-turbo}, kept in the cache that
 * Python's {@code huggingface_hub} has.
 *
 * <p>Read in this order: {@link org.perflow.hub.Hub} (the front door), {@link
 * org.perflow.hub.HubName} (what a name may say), {@link org.perflow.hub.HubSettings} (what the
 * environment says); then one fetch from top to bottom: {@code Fetch}, {@code NeededFiles} (which
 * files of a repository are read at all), {@code HubCache} (where they lie), {@code HubClient} (how
 * the hub is asked), {@code BlobDownload} (a file in pieces, checked by its hash). {@link
 * org.perflow.hub.CachedModel} says what is there.
 */
@NullMarked
package org.perflow.hub;

import org.jspecify.annotations.NullMarked;
