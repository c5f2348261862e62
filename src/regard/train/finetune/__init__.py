"""Fine-tuning any checkpoint of the family on a user's own conversations: `regard train DATA --model M`."""
