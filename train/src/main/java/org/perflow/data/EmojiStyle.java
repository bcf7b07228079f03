package org.perflow.data;

import java.util.Arrays;
import java.util.stream.Collectors;

/** The icon sets we can draw: openly licensed, one drawing style each. */
public enum EmojiStyle {
  FLUENT_FLAT(
      "fluent-flat",
      "fluent",
      new NpmPackage(
          "@iconify-json/fluent-emoji-flat",
          "1.2.6",
          "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
      "Copyright (c) Microsoft Corporation",
      """
      Permission is hereby granted, free of charge, to any person obtaining a copy of this software \
      and associated documentation files (the "Software"), to deal in the Software without \
      restriction, including without limitation the rights to use, copy, modify, merge, publish, \
      distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the \
      Software is furnished to do so, subject to the following conditions:

      The above copyright notice and this permission notice shall be included in all copies or \
      substantial portions of the Software.

      THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING \
      BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND \
      NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, \
      DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, \
      OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
      """),
  TWEMOJI(
      "twemoji",
      "twemoji",
      new NpmPackage(
          "@iconify-json/twemoji",
          "1.2.5",
          "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
      "Copyright Twitter, Inc and other contributors",
      "Licensed under the Creative Commons Attribution 4.0 International licence. The drawings were"
          + " rendered to pixels on a white background.\n"),
  NOTO(
      "noto",
      "noto",
      new NpmPackage(
          "@iconify-json/noto",
          "1.2.9",
          "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
      "Copyright Google Inc",
      "Licensed under the Apache License, Version 2.0 (http://www.apache.org/licenses/LICENSE-2.0)."
          + " The drawings were rendered to pixels on a white background.\n"),
  OPENMOJI(
      "openmoji",
      "openmoji",
      new NpmPackage(
          "@iconify-json/openmoji",
          "1.2.29",
          "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
      "Copyright OpenMoji contributors",
      "Licensed under the Creative Commons Attribution-ShareAlike 4.0 International licence. The"
          + " drawings were rendered to pixels on a white background, and are shared under the same"
          + " licence.\n");

  private final String id;
  private final String word;
  private final NpmPackage source;
  private final String copyright;
  private final String terms;

  EmojiStyle(String id, String word, NpmPackage source, String copyright, String terms) {
    this.id = id;
    this.word = word;
    this.source = source;
    this.copyright = copyright;
    this.terms = terms;
  }

  /** The name on the command line and in the data. */
  public String id() {
    return id;
  }

  /** The word that names the style in captions. */
  public String word() {
    return word;
  }

  public NpmPackage source() {
    return source;
  }

  /** Who made the drawings. */
  public String copyright() {
    return copyright;
  }

  /** The licence text that has to travel with them. */
  public String terms() {
    return terms;
  }

  /** The style with this {@link #id()}. */
  public static EmojiStyle of(String id) {
    return Arrays.stream(values())
        .filter(style -> style.id.equals(id))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "no emoji style \"%s\"; there are %s"
                        .formatted(
                            id,
                            Arrays.stream(values())
                                .map(EmojiStyle::id)
                                .collect(Collectors.joining(", ")))));
  }
}
