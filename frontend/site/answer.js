// What GET /api/ and each event of /api/events must hold to be believed.

export const LONGEST_BODY = 65536; // characters; a real answer has a few hundred

// check gives the answer that a text holds, or throws what is wrong with it.
export function check(text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error("The answer is not JSON.");
  }
  for (const field of ["hostname", "ip", "status"]) {
    if (typeof answer?.[field] !== "string" || answer[field] === "") {
      throw new Error(`The answer has no ${field}.`);
    }
  }
  return answer;
}
