# The ruleset that tflint brings along; others are downloaded plugins.
plugin "terraform" {
  enabled = true
  preset  = "recommended"
}

# Beyond the preset: what makes a module readable.
rule "terraform_documented_variables" {
  enabled = true
}

rule "terraform_documented_outputs" {
  enabled = true
}

rule "terraform_naming_convention" {
  enabled = true
}

rule "terraform_unused_required_providers" {
  enabled = true
}

rule "terraform_comment_syntax" {
  enabled = true
}
